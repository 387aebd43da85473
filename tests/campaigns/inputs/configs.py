"""Configs with one mistake, and stored detectors that were edited."""

import copy
import json
from pathlib import Path

import hypothesis
import numpy as np
import yaml
from hypothesis import strategies as st
from inputs.outcomes import ending
from snakemake.utils import update_config

from workflow_scripts.lib.config.resolve import resolve_config, with_own_blocks
from workflow_scripts.lib.config.yaml_text import check_yaml
from workflow_scripts.lib.detection.bundle import write_detector
from workflow_scripts.lib.detection.stored import load_detector

ROOT = Path(__file__).parents[3]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["", "none", "auto", "../..", "\0", "{}", "\ud800", "x" * 3000, "1e-3", 10**30]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(["method", "path", "k", "from"]), SCALARS), inner, max_size=3
        ),
    ),
    max_leaves=4,
)


def drawn(strategy, number, seed):
    """So many values of a strategy, always the same for a seed."""
    found = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(value):
        found.append(value)

    collect()
    return found


def shipped():
    """The config that comes with the project."""
    config = {}
    for name in ("config", "benchmark_sets", "ablations", "deep_clustering"):
        update_config(config, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text("utf-8")))
    return config


def places(value, at=()):
    """The paths of keys and indexes that lead to every value below."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*at, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*at, key))


def config_cases(number, seed):
    """Name -> check, of the shipped config with one value in place of another."""
    config = shipped()
    chosen = drawn(st.tuples(st.sampled_from(list(places(config))), VALUES), number, seed)
    names = ("/".join(map(str, place)) for place, _ in chosen)
    return {
        f"config {i}: {name}": one_mistake(config, *pair)
        for i, (name, pair) in enumerate(zip(names, chosen, strict=True))
    }


def one_mistake(config, place, value):
    def check(folder):
        changed = copy.deepcopy(config)
        at = changed
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = value
        message = ending(lambda: resolve_config(with_own_blocks(changed, {})))
        assert message is None or message.startswith("config"), message

    return check


YAML = {
    "that expands": "a0: &a0 [x]\n"
    + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 80)),
    "that holds itself": "a: &a {b: *a}\n",
    "that is nested": "[" * 5000 + "]" * 5000,
    "that is cut": "a: [\n",
    "with a tab": "a:\n\t- b\n",
    "with a control character": "\x01",
    "with a key twice": "a: {b: 1, b: 2}\n",
    "with an octal number": "a: 010\n",
    "of two documents": "a: 1\n---\nb: 2\n",
}


def yaml_cases():
    """Name -> check, of files that no config can be."""

    def refused_yaml(text):
        def check(folder):
            (folder / "mine.yaml").write_text(text)
            message = ending(lambda: check_yaml(folder / "mine.yaml"))
            assert message and "mine.yaml" in message, message

        return check

    return {f"a config {name}": refused_yaml(text) for name, text in YAML.items()}


META = {
    "calibration": "held_out", "clusters": None, "columns": ["mcm"], "decide_by": "mcm",
    "detectors": {"mcm": {"method": "mcm", "temperature": 1.0}}, "left_out": {}, "rate": 0.05,
    "encoder": {"name": "x", "block": {"method": "precomputed"}, "description": {"dim": 4}},
    "mining": "clustermine", "negatives": {}, "positives": ["a", "b"],
}  # fmt: skip


def bundle_cases(number, seed):
    """Name -> check, of a stored detector with one value of its description changed."""
    chosen = drawn(st.tuples(st.sampled_from([*META, "arrays", "format"]), VALUES), number, seed)
    return {f"detector {i}: {key}": edited(key, v) for i, (key, v) in enumerate(chosen)}


def edited(key, value):
    def check(folder):
        rows, path = np.eye(4, dtype=np.float32), folder / "detector.json"
        scores = np.linspace(0, 1, 30, dtype=np.float32)
        arrays = {"positives": rows[:2], "calibration.mcm": scores}
        write_detector(path, folder / "detector.safetensors", META, arrays)
        changed = json.loads(path.read_text()) | {key: value, "crc32": None}
        path.write_text(json.dumps(changed, default=str))

        def use():
            detector = load_detector(path)
            detector.rank(["x", "y"], rows[:2])

        message = ending(use)
        assert message is None or "detector" in message, message

    return check
