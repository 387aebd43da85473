import sys

import numpy as np
import open_clip
import pytest
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.tokenizer import canonicalize_text
from tiny_checkpoint import MODEL_CFG, fill_cache, load, pictures, save_checkpoint, save_tower, unit

from workflow_scripts.lib.errors import InputError


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tmp_path):
    text_cfg = MODEL_CFG["text_cfg"] | {"vocab_size": 600}
    save_checkpoint(tmp_path / "small", model_cfg=MODEL_CFG | {"text_cfg": text_cfg})
    with pytest.raises(InputError, match="49408 tokens but its text model only 600"):
        load({"checkpoint": str(tmp_path / "small")})


def test_without_transformers_a_tokenizer_of_its_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"needs the package transformers.*pip install"):
        load({"model": "ViT-B-16-SigLIP2", "pretrained": "webli"})
    save_tower(tmp_path / "siglip", MODEL_CFG["text_cfg"] | {"hf_tokenizer_name": "some/name"})
    with pytest.raises(InputError, match=r"'some/name', which needs the package transformers"):
        load({"checkpoint": str(tmp_path / "siglip")})


def test_images_need_no_tokenizer(tmp_path, fake_transformers):
    folder = tmp_path / "siglip"
    model = save_tower(folder, MODEL_CFG["text_cfg"] | {"hf_tokenizer_name": "some/name"})
    cfg = {"checkpoint": str(folder), "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "transformers", None)
        encoder = load(cfg, texts=False)
    picture = encoder.preprocess(pictures(1)[0])[None]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    with torch.no_grad():
        expected = unit(model.encode_image((picture / 255 - mean) / std).numpy())
    assert np.allclose(encoder.encode_images(picture), expected, atol=1e-5)
    (folder / "tokenizer.json").touch()
    assert load(cfg, texts=True).describe() == encoder.describe()


def test_a_missing_tokenizer_of_the_hub_is_named(fake_transformers, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as error:
        load({"model": "ViT-B-16-SigLIP2", "pretrained": "webli"})
    for part in ("tokenizer.json", "timm/ViT-B-16-SigLIP2", str(tmp_path), "OFFLINE", "checkpoint"):
        assert part in str(error.value)

    snapshot = fill_cache(tmp_path, "timm/ViT-B-16-SigLIP2")
    (snapshot / "tokenizer.json").touch()
    (snapshot / "tokenizer_config.json").touch()
    with pytest.raises(InputError, match=r"weights of ViT-B-16-SigLIP2 .* open_clip_model"):
        load({"model": "ViT-B-16-SigLIP2", "pretrained": "webli"})


def test_a_checkpoint_folder_must_hold_its_tokenizer(fake_transformers, tmp_path):
    folder = tmp_path / "siglip"
    save_tower(folder, MODEL_CFG["text_cfg"] | {"hf_tokenizer_name": "some/name"})
    with pytest.raises(InputError, match=r"from .*siglip \(tokenizer.json and .*: no tokenizer in"):
        load({"checkpoint": str(folder)})
    (folder / "tokenizer.json").touch()
    encoder = load({"checkpoint": str(folder), "device": "cpu"})
    assert encoder.encode_texts(["fox"]).shape == (1, 16)


@pytest.mark.parametrize("clean, warns", [(None, True), ("canonicalize", False), ("lower", False)])
def test_capitals_in_texts_of_siglip_are_warned_of(
    fake_transformers, tmp_path, caplog, clean, warns
):
    kwargs = {"tokenizer_kwargs": {"clean": clean}} if clean else {}
    text_cfg = MODEL_CFG["text_cfg"] | {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP2"} | kwargs
    save_tower(tmp_path / "siglip", text_cfg)
    (tmp_path / "siglip/tokenizer.json").touch()
    encoder = load({"checkpoint": str(tmp_path / "siglip"), "device": "cpu"})
    assert ("keeps capitals" in caplog.text) == warns
    one, other = encoder.encode_texts(["Red Fox", "red fox"])
    assert np.allclose(one, other) != warns


def test_open_clip_lowers_the_texts_of_all_its_models_of_siglip():
    models = [name for name in open_clip.list_models() if "-SigLIP" in name]
    assert len(models) > 20
    for name in models:
        text_cfg = open_clip.get_model_config(name)["text_cfg"]
        assert text_cfg["tokenizer_kwargs"]["clean"] == "canonicalize", name
    assert canonicalize_text("A Red, FOX.") == "a red fox"
