"""Checkpoint folders and weights files of encoders, whose config or weights are not what they are.

Torch and the encoders are imported by the cases: other cases need no such time.
"""

import functools
import json
import pickle
import tempfile
from pathlib import Path

from inputs.outcomes import damaged, ending, isolated, refused

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


@functools.cache
def checkpoint():
    """Config (text) and weights (name -> tensor) of a tiny model with random weights."""
    from safetensors.torch import load_file
    from tiny_checkpoint import save_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder))
        return Path(folder, CONFIG).read_text(), load_file(Path(folder, WEIGHTS))


def loaded(folder, config=None, weights=None):
    """Load the encoder of a folder with these files (bytes), else with those of `checkpoint`."""
    from safetensors.torch import save

    from workflow_scripts.lib.encoders.loading import load_encoder

    text, tensors = checkpoint()
    (folder / CONFIG).write_bytes(text.encode() if config is None else config)
    (folder / WEIGHTS).write_bytes(save(tensors) if weights is None else weights)
    block = {"method": "open_clip", "checkpoint": str(folder), "device": "cpu"}
    return load_encoder(block).encode_texts(["a fox"])


def changed(keys, value):
    """The config with another value at these keys; as bytes."""
    config = json.loads(checkpoint()[0])
    at = config
    for key in keys[:-1]:
        at = at.setdefault(key, {})
    at[keys[-1]] = value
    return json.dumps(config).encode()


def without(*keys):
    config = json.loads(checkpoint()[0])
    functools.reduce(dict.__getitem__, keys[:-1], config).pop(keys[-1])
    return json.dumps(config).encode()


CONTENTS = {
    "no byte": b"", "a list": b"[]", "a number": b"3", "null": b"null", "no JSON": b"{",
    "a deep list": b"[" * 100_000, "binary bytes": bytes(range(256)), "nothing in it": b"{}",
    "UTF-16": "{}".encode("utf-16"), "no model": b'{"model_cfg": {}}',
    "a list of models": b'{"model_cfg": []}', "two megabytes": b" " * (2 << 20) + b"{}",
}  # fmt: skip
VALUES = {
    ("model_cfg",): [None, "ViT-B-32"],
    ("model_cfg", "embed_dim"): [None, "16", 0, -1, 1.5, float("nan"), 10**12, True, [16]],
    ("model_cfg", "quick_gelu"): ["yes", 2],
    ("model_cfg", "vision_cfg"): [None, [], "x"],
    ("model_cfg", "vision_cfg", "layers"): ["12", 10**9, [1, 1, 1], [1, 1, 1, 10**9], [], {}, 0],
    ("model_cfg", "vision_cfg", "width"): [10**6, "8", float("inf"), {}],
    ("model_cfg", "vision_cfg", "image_size"): [0, 10**9, [32], "32", [32, -32]],
    ("model_cfg", "vision_cfg", "timm_model_name"): ["no_such_model", 3, []],
    ("model_cfg", "text_cfg"): [None, [], {}],
    ("model_cfg", "text_cfg", "context_length"): [None, "12", 10**9, 60_000, 0],
    ("model_cfg", "text_cfg", "vocab_size"): ["x", 10**12, 100],
    ("model_cfg", "text_cfg", "layers"): [10**9, 2, "1"],
    ("model_cfg", "text_cfg", "heads"): [3, 0],
    ("model_cfg", "text_cfg", "mlp_ratio"): [float("nan"), 1e30, -1, "4"],
    ("model_cfg", "text_cfg", "tokenizer_kwargs"): [[], {"no": 1}],
    ("model_cfg", "text_cfg", "act_kwargs"): [3, {"no": 1}],
    ("model_cfg", "text_cfg", "no_such_key"): [1],
    ("model_cfg", "no_such_key"): [1],
    ("preprocess_cfg",): [[], "x"],
    ("preprocess_cfg", "mean"): [0.5, [0.5], ["a", "b", "c"], [float("nan")] * 3, {}],
    ("preprocess_cfg", "std"): [[0, 0, 0], [-1, 1, 1], [float("inf")] * 3],
    ("preprocess_cfg", "interpolation"): ["nearest", 3, "random"],
    ("preprocess_cfg", "resize_mode"): ["x", []],
    ("preprocess_cfg", "fill_color"): ["red", 300, [1, 2]],
}


def bad_config(make):
    """A config is refused by its name, in the memory that a tiny model takes."""

    def check(folder):
        import open_clip  # noqa: F401  (its memory is not that of the case)

        content = make()

        def use(place):
            message = refused(lambda: loaded(place, config=content), CONFIG)
            assert "copy" in message or "set" in message, f"no remedy: {message}"

        isolated(use)(folder)

    return check


def bad_weights(make, name=WEIGHTS):
    """Weights that `make(tensors)` gives as bytes are refused by the name of their file."""

    def check(folder):
        content = make(dict(checkpoint()[1]))
        refused(lambda: loaded(folder, weights=content), name, "copy")

    return check


def saved(change):
    """The bytes of tensors after `change(tensors)`."""

    def make(tensors):
        from safetensors.torch import save

        change(tensors)
        return save(tensors)

    return make


def pickled(tensors):
    import io

    import torch

    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


def fill(name, value):
    return saved(lambda tensors: tensors[name].fill_(value))


def of_another_model(tensors):
    tensors.clear()
    tensors.update(_timm().state_dict())


def _timm():
    import timm

    return timm.create_model("test_vit")


def cut(part):
    return lambda tensors: saved(lambda _: None)(tensors)[:part]


CONV = "visual.conv1.weight"
BAD_WEIGHTS = {
    "no byte": lambda _: b"",
    "no weights": lambda _: b"no weights" * 100_000,
    "a text": lambda _: b"version https://git-lfs.github.com/spec/v1\n",
    "cut in the header": cut(99),
    "cut by a byte": cut(-1),
    "a pickle": lambda _: pickle.dumps({"a": 1}),
    "weights of torch.save": pickled,
    "no tensor": saved(dict.clear),
    "a tensor less": saved(lambda tensors: tensors.pop(CONV)),
    "a tensor more": saved(lambda tensors: tensors.update(more=tensors[CONV].clone())),
    "a tensor of another shape": saved(lambda t: t.update({CONV: t[CONV][:2].clone()})),
    "another model's tensors": saved(of_another_model),
    "a NaN": fill(CONV, float("nan")),
    "an infinite value": fill("text_projection", float("inf")),
    "a scale without bounds": fill("logit_scale", 800),
    "a scale that is no number": fill("logit_scale", float("nan")),
}


def damaged_weights(rng):
    """Weights that were damaged: refused by their name, or, where only values differ, loaded."""

    def check(folder):
        content = damaged(saved(lambda _: None)(dict(checkpoint()[1])), rng)
        message = ending(lambda: loaded(folder, weights=content))
        assert message is None or WEIGHTS in message, message

    return check


def damaged_config(rng):
    """A config that was damaged: refused by its name, or loaded."""

    def check(folder):
        import open_clip  # noqa: F401

        content = damaged(checkpoint()[0].encode(), rng)

        def load(place):
            message = ending(lambda: loaded(place, config=content))
            assert message is None or CONFIG in message or WEIGHTS in message, message

        isolated(load)(folder)

    return check


def timm_weights(make):
    """A weights file of timm is refused by its name."""

    def check(folder):
        from workflow_scripts.lib.encoders.loading import load_encoder

        path = folder / "vit.safetensors"
        path.write_bytes(make(dict(_timm().state_dict())))
        block = {"method": "timm", "model": "test_vit", "pretrained": str(path), "device": "cpu"}
        refused(lambda: load_encoder(block, texts=False), "vit.safetensors", "copy")

    return check


TIMM = {
    "cut by a byte": cut(-1),
    "a pickle": pickled,
    "no tensor": saved(dict.clear),
    "a tensor less": saved(lambda tensors: tensors.pop("cls_token")),
    "a NaN": fill("cls_token", float("nan")),
    "another model's tensors": saved(lambda t: (t.clear(), t.update(checkpoint()[1]))),
}


def encoder_cases(short):
    """Name -> check; in short a value of each key."""
    made = {
        f"encoder config with {name}": bad_config(lambda c=c: c) for name, c in CONTENTS.items()
    }
    for keys, values in VALUES.items():
        for value in values[:1] if short else values:
            name = f"encoder config with {'.'.join(keys)}: {value!r}"
            made[name] = bad_config(lambda k=keys, v=value: changed(k, v))
    for keys in (
        ("model_cfg", "embed_dim"),
        ("model_cfg", "vision_cfg"),
        ("model_cfg", "text_cfg"),
    ):
        made[f"encoder config without {'.'.join(keys)}"] = bad_config(lambda k=keys: without(*k))
    made |= {f"encoder weights: {name}": bad_weights(make) for name, make in BAD_WEIGHTS.items()}
    return made | {f"timm weights: {name}": timm_weights(make) for name, make in TIMM.items()}


def damaged_encoders(number, rng):
    """Name -> check, of configs and weights that are damaged at random."""
    made = {f"encoder config {i}": damaged_config(r) for i, r in enumerate(rng.spawn(number))}
    weights = enumerate(rng.spawn(number))
    return made | {f"encoder weights {i}": damaged_weights(r) for i, r in weights}
