"""A checkpoint folder whose config or weights are damaged, edited or another model's is named."""

import json
import math

import open_clip
import pytest
from safetensors.torch import load_file, save_file
from tiny_checkpoint import MODEL_CFG, copy_checkpoint, load, save_checkpoint

from workflow_scripts.lib.encoders.checkpoint import Model, _parameters
from workflow_scripts.lib.errors import InputError

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


def refused(folder, pattern):
    with pytest.raises(InputError, match=pattern) as error:
        load({"checkpoint": str(folder), "device": "cpu"})
    assert "copy" in str(error.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff\xfe", b'{"model_cfg": "ViT-B-32"}',
     b" " * (2 << 20) + b"{}"],
)  # fmt: skip
def test_a_config_that_is_none_is_named(tiny, tmp_path, content):
    folder = copy_checkpoint(tiny, tmp_path)
    (folder / CONFIG).write_bytes(content)
    refused(folder, rf"{CONFIG} is no open_clip config")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model_cfg.embed_dim", "16"),
        ("model_cfg.embed_dim", math.nan),
        ("model_cfg.text_cfg.context_length", "12"),
        ("model_cfg.vision_cfg", []),
        ("model_cfg.vision_cfg.layers", 10**9),
        ("preprocess_cfg.mean", [0.5]),
        ("preprocess_cfg.std", [0, 1, 1]),
        ("preprocess_cfg", "x"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_place(tiny, tmp_path, place, value):
    folder = copy_checkpoint(tiny, tmp_path)
    config = json.loads((folder / CONFIG).read_text())
    *keys, last = place.split(".")
    at = config
    for key in keys:
        at = at[key]
    at[last] = value
    (folder / CONFIG).write_text(json.dumps(config))
    refused(folder, rf"{CONFIG} is no open_clip config \('{place}")


def test_a_model_that_is_larger_than_its_weights_is_not_built(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(open_clip, "create_model", None)
    folder = copy_checkpoint(tiny, tmp_path)
    for tower, change in (
        ("text_cfg", {"width": 20_000}), ("text_cfg", {"vocab_size": 10**10}),
        ("text_cfg", {"context_length": 60_000}), ("vision_cfg", {"width": 5000}),
        ("vision_cfg", {"image_size": 8192, "patch_size": 1}),
    ):  # fmt: skip
        model_cfg = MODEL_CFG | {tower: MODEL_CFG[tower] | change}
        (folder / CONFIG).write_text(json.dumps({"model_cfg": model_cfg}))
        refused(folder, rf"{CONFIG} tells of a model with .* but .*{WEIGHTS} has \d")


@pytest.mark.parametrize(
    ("name", "parameters"), [("ViT-B-32", 151_277_313), ("ViT-L-14", 427_616_513)]
)
def test_models_have_at_least_as_many_parameters_as_are_counted(name, parameters):
    """The numbers of parameters are those that open_clip's documentation tells."""
    counted = _parameters(Model.model_validate(open_clip.get_model_config(name)))
    assert 0.9 * parameters < counted <= parameters


def test_all_configs_of_open_clip_are_configs():
    for name in open_clip.list_models():
        Model.model_validate(open_clip.get_model_config(name), strict=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("visual.conv1.weight", math.nan), ("logit_scale", 800.0), ("logit_scale", math.inf)],
)
def test_weights_that_no_trained_model_has_are_named(tiny, tmp_path, name, value):
    folder = copy_checkpoint(tiny, tmp_path)
    weights = load_file(folder / WEIGHTS)
    weights[name].fill_(value)
    save_file(weights, folder / WEIGHTS)
    refused(folder, rf"{WEIGHTS}: {name} \(and 0 more\) holds values in fp32 that no")


def test_weights_of_another_config_name_both_files(tiny, tmp_path):
    folder = copy_checkpoint(tiny, tmp_path)
    save_checkpoint(tmp_path / "other", model_cfg=MODEL_CFG | {"embed_dim": 8})
    (tmp_path / "other" / WEIGHTS).rename(folder / WEIGHTS)
    refused(folder, rf"{WEIGHTS} by its {CONFIG} \(.*size mismatch")
