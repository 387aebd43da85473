import json
import shutil
import time

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import load_file, save_file
from tiny_checkpoint import (
    MODEL_CFG,
    copy_checkpoint,
    fill_cache,
    load,
    pictures,
    save_tower,
    unit,
)

from workflow_scripts.lib.encoders import open_clip as open_clip_models
from workflow_scripts.lib.errors import InputError


@pytest.mark.parametrize("cfg", [{}, {"model": "ViT-B-32"}, {"pretrained": "openai"}])
def test_a_model_without_weights_is_refused(cfg):
    with pytest.raises(InputError, match="random embeddings"):
        load(cfg)


def test_unknown_models_and_tags_are_named():
    with pytest.raises(InputError, match=r"no model 'ViT-B32'; close names: .*ViT-B-32"):
        load({"model": "ViT-B32", "pretrained": "openai"})
    with pytest.raises(InputError, match=r"'opnai' is neither .* ViT-B-32 \(tags: openai"):
        load({"model": "ViT-B-32", "pretrained": "opnai"})


def test_quickgelu_mismatch_is_refused():
    with pytest.raises(InputError, match=r"QuickGELU mismatch.*use model 'ViT-B-32-quickgelu'"):
        load({"model": "ViT-B-32", "pretrained": "openai"})
    # open_clip itself lists only matching tags for its -quickgelu names.
    with pytest.raises(InputError, match="'laion2b_s34b_b79k' is neither a file nor a tag"):
        load({"model": "ViT-B-32-quickgelu", "pretrained": "laion2b_s34b_b79k"})


@pytest.mark.parametrize("offline", [True, False])
def test_a_tag_out_of_reach_fails_fast_and_says_what_to_do(monkeypatch, tmp_path, offline):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(InputError) as error:
        load({"model": "ViT-B-32-quickgelu", "pretrained": "openai"})
    assert time.monotonic() - started < 10
    for part in ("'openai'", str(tmp_path), "HF_HOME", "OFFLINE" if offline else "127.0.0.1:9"):
        assert part in str(error.value)


def test_a_cached_tag_loads_without_a_network(monkeypatch, tmp_path, tiny):
    """The cache of the hub, filled by hand with a tiny model under a tag made up for the test."""
    from huggingface_hub import constants

    (tmp_path / "models/tiny-test.json").parent.mkdir()
    (tmp_path / "models/tiny-test.json").write_text(json.dumps(MODEL_CFG))
    open_clip.add_model_config(tmp_path / "models")
    tag = {"hf_hub": "someone/tiny/", "mean": (0.1,) * 3, "std": (0.2,) * 3, "quick_gelu": False}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-test", {"made_up": tag})
    snapshot = fill_cache(tmp_path / "hub", "someone/tiny")
    shutil.copytree(tiny[0], snapshot, dirs_exist_ok=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")

    encoder = load({"model": "tiny-test", "pretrained": "made_up"})
    description = encoder.describe()
    assert description["preprocess"]["mean"] == [0.1] * 3
    assert description["sha256"] == tiny[2].describe()["sha256"]
    assert np.allclose(encoder.encode_texts(["fox"]), tiny[2].encode_texts(["fox"]), atol=1e-6)


def test_checkpoint_folders_must_be_complete(tiny, tmp_path):
    with pytest.raises(InputError, match=r"nowhere: open_clip_config.json is missing"):
        load({"checkpoint": str(tmp_path / "nowhere")})
    folder = copy_checkpoint(tiny, tmp_path)
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"open_clip_model.safetensors is missing"):
        load({"checkpoint": str(folder)})
    (folder / "open_clip_model.safetensors").write_bytes(b"no weights" * 100_000)
    with pytest.raises(InputError, match=r"cannot be loaded"):
        load({"checkpoint": str(folder)})
    text_cfg = MODEL_CFG["text_cfg"] | {"tokenizer_kwargs": {"no": 1}}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": MODEL_CFG | {"text_cfg": text_cfg}})
    )
    with pytest.raises(InputError, match=r"tokenizer cannot be loaded from open_clip_config.json"):
        load({"checkpoint": str(folder)})


def test_incomplete_weights_are_refused(tiny, tmp_path):
    folder = copy_checkpoint(tiny, tmp_path)
    weights = load_file(folder / "open_clip_model.safetensors")
    weights.pop("visual.conv1.weight")
    save_file(weights, folder / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"cannot be loaded.*visual.conv1.weight"):
        load({"checkpoint": str(folder)})


def test_a_weights_file_of_another_architecture_is_refused(tiny):
    weights = tiny[0] / "open_clip_model.safetensors"
    with pytest.raises(InputError, match="RN50 cannot be loaded"):
        load({"model": "RN50", "pretrained": str(weights)})


@pytest.mark.parametrize(
    ("model", "mean", "resize_mode"),
    [("ViT-B-16-SigLIP2", 0.5, "squash"), ("PE-Core-B-16", 0.5, "squash"), ("RN50", 0.48, None)],
)
def test_a_weights_file_is_preprocessed_as_the_tags_of_its_model(model, mean, resize_mode):
    found = open_clip_models._usual_preprocessing(model, "x.pt")
    assert found["mean"][0] == pytest.approx(mean, abs=0.01)
    assert found["resize_mode"] == (resize_mode or "shortest")


def test_a_weights_file_of_a_model_whose_tags_differ_is_preprocessed_as_clip(caplog):
    assert (
        open_clip_models._usual_preprocessing("ViT-H-14-quickgelu", "x.pt") is None
    )  # metaclip and dfn5b
    assert "differ in their preprocessing" in caplog.text


def test_a_checkpoint_with_a_tower_of_timm_is_loaded_with_timm(tmp_path):
    model = save_tower(tmp_path / "tower")
    encoder = load({"checkpoint": str(tmp_path / "tower"), "device": "cpu"})
    picture = pictures(1)[0].resize((160, 160))  # the model's size, so no resize rounds
    preprocess = image_transform_v2(PreprocessCfg(size=160), is_train=False)
    with torch.no_grad():
        expected = unit(model.encode_image(preprocess(picture)[None]).numpy())
    assert np.allclose(
        encoder.encode_images(encoder.preprocess(picture)[None]), expected, atol=1e-5
    )
