import json
import subprocess
import sys

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from tiny_checkpoint import (
    MODEL_CFG,
    copy_checkpoint,
    load,
    pictures,
    save_checkpoint,
    unit,
)

from workflow_scripts.lib.encoders.loading import with_weights
from workflow_scripts.lib.errors import InputError


def test_images_are_encoded_as_by_the_saved_model(tiny):
    _, model, encoder = tiny
    cfg = PreprocessCfg(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    preprocess = image_transform_v2(cfg, is_train=False)
    batch = torch.stack([preprocess(picture) for picture in pictures(5)])
    pixels = torch.stack([encoder.preprocess(p) for p in pictures(5)])
    with torch.no_grad():
        by_open_clip = unit(model.encode_image(batch).numpy())
        expected = unit(model.encode_image((pixels / 255 - 0.5) / 0.25).numpy())
    embeddings = encoder.encode_images(pixels)
    assert np.allclose(embeddings, by_open_clip, atol=5e-3)  # pixels differ by rounding
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (5, encoder.dim) == (5, 16)
    assert np.allclose(embeddings, expected, atol=1e-6)
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_texts_do_not_depend_on_the_batch_size(tiny):
    folder, model, encoder = tiny
    texts = ["a red fox", "a zebra", "an ant", "a very " * 40 + "long text", "Zoë"]
    with torch.no_grad():
        tokens = open_clip.SimpleTokenizer(context_length=12)(texts)
        expected = unit(model.encode_text(tokens).numpy())
    assert np.allclose(encoder.encode_texts(texts), expected, atol=1e-6)
    small = load({"checkpoint": str(folder), "device": "cpu", "batch_size": 2})
    assert np.allclose(small.encode_texts(texts), expected, atol=1e-6)
    assert encoder.encode_texts([]).shape == (0, 16)


def test_ensemble_is_the_normalised_mean_of_each_concepts_prompts(tiny):
    encoder = tiny[2]
    prompts = [["a fox", "the fox", "a photo of a fox"], ["red"], ["an owl", "the owl"]]
    expected = []
    for group in prompts:
        total = np.zeros(16)
        for prompt in group:
            total += encoder.encode_texts([prompt])[0]
        expected.append(unit(total / len(group)))
    result = encoder.encode_prompts(prompts)
    assert result.dtype == np.float32
    assert np.allclose(result, expected, atol=1e-6)


def test_description_identifies_the_weights(tiny, tmp_path):
    folder, _, encoder = tiny
    description = encoder.describe()
    assert json.loads(json.dumps(description)) == description
    assert description["dim"] == 16
    assert description["precision"] == "fp32"
    assert description["preprocess"]["mean"] == [0.5] * 3
    assert len(description["sha256"]) == 64
    save_checkpoint(tmp_path / folder.name, seed=1)
    other = load({"checkpoint": str(tmp_path / folder.name)}).describe()
    assert {k for k in other if other[k] != description[k]} == {"sha256"}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_stays_close(tiny, precision):
    folder, _, encoder = tiny
    low = load({"checkpoint": str(folder), "precision": precision, "device": "cpu"})
    batch = torch.stack([encoder.preprocess(picture) for picture in pictures(4)])
    for full, reduced in (
        (encoder.encode_images(batch), low.encode_images(batch)),
        (encoder.encode_texts(["a fox", "owl"]), low.encode_texts(["a fox", "owl"])),
    ):
        assert reduced.dtype == np.float32
        assert not np.array_equal(full, reduced)
        assert (full * reduced).sum(1).min() > 0.999


def test_overflow_is_an_error(tmp_path):
    save_checkpoint(tmp_path / "huge", scale=1e38)
    encoder = load({"checkpoint": str(tmp_path / "huge"), "device": "cpu"})
    with pytest.raises(InputError, match="zero or not finite in fp32"):
        encoder.encode_texts(["fox"])


def test_a_zero_embedding_is_an_error(tmp_path):
    save_checkpoint(tmp_path / "null", scale=0.0)
    encoder = load({"checkpoint": str(tmp_path / "null"), "device": "cpu"})
    with pytest.raises(InputError, match="zero or not finite"):
        encoder.encode_texts(["fox"])


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_preprocessing_equals_open_clips(tiny, tmp_path, resize_mode):
    folder = copy_checkpoint(tiny, tmp_path)
    options = {
        "mean": [0.4, 0.5, 0.6],
        "std": [0.1, 0.2, 0.3],
        "resize_mode": resize_mode,
        "interpolation": "bilinear",
    }
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": options}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    encoder = load({"checkpoint": str(folder), "device": "cpu"})
    preprocess = image_transform_v2(PreprocessCfg(size=32, **options), is_train=False)
    seen = []
    encoder.model.encode_image = lambda pixels: seen.append(pixels) or torch.ones(len(pixels), 16)
    for picture in [*pictures(2), pictures(1)[0].resize((20, 90))]:
        encoder.encode_images(encoder.preprocess(picture)[None])
        std = torch.tensor(options["std"]).view(3, 1, 1)
        difference = ((seen.pop()[0] - preprocess(picture)) * std * 255).abs()
        assert difference.max() < 1.01  # one grey level, in few pixels
        assert difference.mean() < 0.1


def test_a_preprocessing_that_open_clip_does_not_have_is_refused(tiny, tmp_path):
    folder = copy_checkpoint(tiny, tmp_path)
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": {"interpolation": "nearest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"interpolation.*'bicubic' or 'bilinear'"):
        load({"checkpoint": str(folder), "device": "cpu"})


def test_with_weights_replaces_local_paths_only():
    cfg = {"checkpoint": "config/tiny", "precision": "fp32"}
    files = [
        "/repo/config/tiny/open_clip_model.safetensors",
        "/repo/config/tiny/open_clip_config.json",
    ]
    assert with_weights(cfg, files) == cfg | {"checkpoint": "/repo/config/tiny"}
    cfg = {"model": "RN50", "pretrained": "w/x.pt"}
    assert with_weights(cfg, ["/repo/w/x.pt"]) == cfg | {"pretrained": "/repo/w/x.pt"}
    assert with_weights(cfg, []) == cfg


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named(tiny):
    with pytest.raises(InputError, match="torch sees no GPU"):
        load({"checkpoint": str(tiny[0]), "device": "cuda"})


def test_unknown_precision_is_refused(tiny):
    with pytest.raises(InputError, match="'int8' must be fp32, bf16 or fp16"):
        load({"checkpoint": str(tiny[0]), "precision": "int8"})


def test_the_description_holds_the_scale_and_bias_of_the_logits(tiny, tmp_path):
    assert tiny[2].describe()["logit_scale"] == pytest.approx(1 / 0.07)  # CLIP's first value
    assert tiny[2].describe()["logit_bias"] is None
    siglip = MODEL_CFG | {"init_logit_scale": np.log(10), "init_logit_bias": -10.0}
    model = save_checkpoint(tmp_path / "siglip", model_cfg=siglip)
    encoder = load({"checkpoint": str(tmp_path / "siglip"), "device": "cpu"})
    description = encoder.describe()
    assert json.loads(json.dumps(description)) == description
    assert description["logit_scale"] == pytest.approx(10)
    assert description["logit_bias"] == -10
    batch = torch.stack([encoder.preprocess(picture) for picture in pictures(2)])
    pixels = (batch.float() / 255 - 0.5) / 0.25
    tokens = open_clip.SimpleTokenizer(context_length=12)(["fox", "owl"])
    with torch.no_grad():
        expected = model.get_logits(pixels, tokens)[0].numpy()
    cosines = encoder.encode_images(batch) @ encoder.encode_texts(["fox", "owl"]).T
    logits = description["logit_scale"] * cosines + description["logit_bias"]
    assert np.allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["open_clip", "timm"])
def test_an_encoder_is_loaded_by_the_module_of_its_method_alone(method):
    """So an edit of timm.py changes no code digest of a job with CLIP."""
    name = "workflow_scripts.lib.encoders"
    code = (
        "import sys, json, workflow_scripts.embed_images, workflow_scripts.embed_texts\n"
        f"from {name}.loading import load_encoder\n"
        f"try: load_encoder({{'method': {method!r}, 'model': 'x', 'pretrained': 'y'}})\n"
        "except ValueError: pass\n"
        f"print(json.dumps([m for m in ('open_clip', 'timm') if '{name}.' + m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert json.loads(done.stdout) == [method]
