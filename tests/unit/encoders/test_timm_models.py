import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoint import (
    fill_cache,
    load,
    pictures,
    unit,
)

from workflow_scripts.lib.errors import InputError


def save_timm(path, name="test_vit", classes=1000, seed=0):
    """Save a tiny model of timm with random weights; return it without its classifier."""
    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=classes).eval()
    if path.suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save({"state_dict": model.state_dict()}, path)
    model.reset_classifier(0)
    return model


def load_timm(path, name="test_vit", **more):
    cfg = {"method": "timm", "model": name, "pretrained": str(path), "device": "cpu"}
    return load(cfg | more)


@pytest.mark.parametrize(
    ("name", "file", "classes"),
    [
        ("test_vit", "x.safetensors", 1000),
        ("test_vit.r160_in1k", "x.pt", 0),
        ("test_convnext", "x.safetensors", 7),
        ("test_resnet", "x.pt", 7),
    ],
)
def test_a_timm_model_embeds_as_timm_does(tmp_path, name, file, classes):
    model = save_timm(tmp_path / file, name, classes)
    encoder = load_timm(tmp_path / file, name)
    config = timm.data.resolve_model_data_config(model)
    batch = torch.stack([encoder.preprocess(picture) for picture in pictures(3)])
    # With "prefetcher", timm's transform stops before the float tensor and the normalisation.
    transform = timm.data.create_transform(**config, is_training=False, use_prefetcher=True)
    theirs = torch.stack([torch.as_tensor(transform(p)) for p in pictures(3)])
    assert (batch.int() - theirs.int()).abs().max() <= 1  # rounding
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = unit(model((batch / 255 - mean) / std).numpy())
    embeddings = encoder.encode_images(batch)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (3, encoder.dim)
    assert np.allclose(embeddings, expected, atol=1e-5)


def test_the_description_of_a_timm_model(tmp_path):
    save_timm(tmp_path / "x.safetensors")
    description = load_timm(tmp_path / "x.safetensors").describe()
    assert json.loads(json.dumps(description)) == description
    assert description["model"] == "test_vit.r160_in1k"
    assert description["pretrained"] == "x.safetensors"
    assert description["preprocess"]["size"] == [160, 160]
    assert description["resize_size"] == [168, 168]  # floor(160 / .95)
    assert description["preprocess"]["resize_mode"] == "shortest"
    assert description["preprocess"]["mean"] == [0.5] * 3
    assert (description["dim"], description["logit_scale"]) == (64, None)


def test_a_timm_model_in_low_precision_stays_close_and_has_no_texts(tmp_path):
    save_timm(tmp_path / "x.safetensors")
    full, low = (load_timm(tmp_path / "x.safetensors", precision=p) for p in ("fp32", "bf16"))
    batch = torch.stack([full.preprocess(picture) for picture in pictures(3)])
    ours, theirs = full.encode_images(batch), low.encode_images(batch)
    assert not np.array_equal(ours, theirs)
    assert (ours * theirs).sum(1).min() > 0.99
    with pytest.raises(InputError, match="has no text model"):
        full.encode_texts(["fox"])


def test_weights_that_do_not_fill_the_model_are_refused(tmp_path):
    model = save_timm(tmp_path / "x.safetensors")
    weights = load_file(tmp_path / "x.safetensors")
    weights.pop("blocks.0.attn.qkv.weight")
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match=r"cannot be loaded from.*blocks.0.attn.qkv.weight"):
        load_timm(tmp_path / "part.safetensors")
    save_file(model.state_dict() | {"extra": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(InputError, match=r"cannot be loaded from.*extra"):
        load_timm(tmp_path / "more.safetensors")
    torch.save({"state_dict": print}, tmp_path / "code.pt")
    with pytest.raises(InputError, match=r"cannot be loaded from"):
        load_timm(tmp_path / "code.pt")


def test_a_weights_file_without_tensors_is_refused(tmp_path):
    """timm would take its own weights in their place."""
    save_file({}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"cannot be loaded from .*x.safetensors \(it has no tens"):
        load_timm(tmp_path / "x.safetensors")


def test_unknown_timm_models_and_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no model 'vit_base_patch14_dino2'; close names: .*dino"):
        load_timm(tmp_path / "x.pt", "vit_base_patch14_dino2")
    with pytest.raises(InputError, match=r"no model 'test_vit.r161'; close names: .*r160_in1k"):
        load_timm(tmp_path / "x.pt", "test_vit.r161")
    with pytest.raises(InputError, match=r"x.pt' is no weights file; name a tag in 'model'"):
        load_timm(tmp_path / "x.pt")
    # timm has this architecture, but no weights of it.
    with pytest.raises(InputError, match=r"no weights of timm for vit_base_patch32_plus_256.*rand"):
        load({"method": "timm", "model": "vit_base_patch32_plus_256"})


def test_a_timm_tag_comes_from_the_cache_or_is_named(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cfg = {"method": "timm", "model": "test_vit.r160_in1k", "device": "cpu"}
    with pytest.raises(InputError) as error:
        load(cfg)
    for part in ("model.safetensors", "timm/test_vit.r160_in1k", str(tmp_path), "HF_HOME"):
        assert part in str(error.value)
    snapshot = fill_cache(tmp_path, "timm/test_vit.r160_in1k")
    save_timm(snapshot / "model.safetensors")
    save_timm(tmp_path / "x.safetensors")
    tagged, own = load(cfg), load_timm(tmp_path / "x.safetensors")
    batch = tagged.preprocess(pictures(1)[0])[None]
    assert np.array_equal(tagged.encode_images(batch), own.encode_images(batch))
