"""The index of standard image sets, their check, and the papers' protocols on a miniature tree."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def read_config(name):
    return yaml.safe_load((ROOT / f"config/{name}.yaml").read_text("utf-8"))


SETS = read_config("benchmark_sets")["image_sets"]


def test_names_of_the_index_are_no_others():
    """Snakemake merges blocks of one name: the demo's would become another set."""
    for name in ("config", "ablations", "deep_clustering", "precomputed"):
        assert not SETS.keys() & read_config(name)["image_sets"].keys(), name
