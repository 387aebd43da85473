import json
import shutil
import time

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_checkpoint import MODEL_CFG, save_checkpoint

from workflow_scripts.lib import encoders
from workflow_scripts.lib.errors import InputError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(checkpoint folder, the model that was saved there, the encoder loaded from it)."""
    folder = tmp_path_factory.mktemp("tiny")
    model = save_checkpoint(folder)
    return folder, model, encoders.load_encoder({"checkpoint": str(folder), "device": "cpu"})


def copy_checkpoint(tiny, folder):
    return shutil.copytree(tiny[0], folder / "copy")


def pictures(count):
    noise = np.random.default_rng(0).integers(0, 255, (count, 40, 50, 3), np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


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
    small = encoders.load_encoder({"checkpoint": str(folder), "device": "cpu", "batch_size": 2})
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
    other = encoders.load_encoder({"checkpoint": str(tmp_path / folder.name)}).describe()
    assert {k for k in other if other[k] != description[k]} == {"sha256"}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_stays_close(tiny, precision):
    folder, _, encoder = tiny
    low = encoders.load_encoder(
        {"checkpoint": str(folder), "precision": precision, "device": "cpu"}
    )
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
    encoder = encoders.load_encoder({"checkpoint": str(tmp_path / "huge"), "device": "cpu"})
    with pytest.raises(InputError, match="zero or not finite in fp32"):
        encoder.encode_texts(["fox"])


def test_a_zero_embedding_is_an_error(tmp_path):
    save_checkpoint(tmp_path / "null", scale=0.0)
    encoder = encoders.load_encoder({"checkpoint": str(tmp_path / "null"), "device": "cpu"})
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
    encoder = encoders.load_encoder({"checkpoint": str(folder), "device": "cpu"})
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
    with pytest.raises(InputError, match="'nearest' must be bicubic or bilinear"):
        encoders.load_encoder({"checkpoint": str(folder), "device": "cpu"})


@pytest.mark.parametrize("cfg", [{}, {"model": "ViT-B-32"}, {"pretrained": "openai"}])
def test_a_model_without_weights_is_refused(cfg):
    with pytest.raises(InputError, match="random embeddings"):
        encoders.load_encoder(cfg)


def test_unknown_models_and_tags_are_named():
    with pytest.raises(InputError, match=r"no model 'ViT-B32'; close names: .*ViT-B-32"):
        encoders.load_encoder({"model": "ViT-B32", "pretrained": "openai"})
    with pytest.raises(InputError, match=r"'opnai' is neither .* ViT-B-32 \(tags: openai"):
        encoders.load_encoder({"model": "ViT-B-32", "pretrained": "opnai"})


def test_quickgelu_mismatch_is_refused():
    with pytest.raises(InputError, match=r"QuickGELU mismatch.*use model 'ViT-B-32-quickgelu'"):
        encoders.load_encoder({"model": "ViT-B-32", "pretrained": "openai"})
    # open_clip itself lists only matching tags for its -quickgelu names.
    with pytest.raises(InputError, match="'laion2b_s34b_b79k' is neither a file nor a tag"):
        encoders.load_encoder({"model": "ViT-B-32-quickgelu", "pretrained": "laion2b_s34b_b79k"})


@pytest.mark.parametrize("offline", [True, False])
def test_a_tag_out_of_reach_fails_fast_and_says_what_to_do(monkeypatch, tmp_path, offline):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(InputError) as error:
        encoders.load_encoder({"model": "ViT-B-32-quickgelu", "pretrained": "openai"})
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
    commit = "0" * 40
    cached = tmp_path / "hub/models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text(commit)
    shutil.copytree(tiny[0], cached / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")

    encoder = encoders.load_encoder({"model": "tiny-test", "pretrained": "made_up"})
    description = encoder.describe()
    assert description["preprocess"]["mean"] == [0.1] * 3
    assert description["sha256"] == tiny[2].describe()["sha256"]
    assert np.allclose(encoder.encode_texts(["fox"]), tiny[2].encode_texts(["fox"]), atol=1e-6)


def test_checkpoint_folders_must_be_complete(tiny, tmp_path):
    with pytest.raises(InputError, match=r"nowhere: open_clip_config.json is missing"):
        encoders.load_encoder({"checkpoint": str(tmp_path / "nowhere")})
    folder = copy_checkpoint(tiny, tmp_path)
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"open_clip_model.safetensors is missing"):
        encoders.load_encoder({"checkpoint": str(folder)})
    (folder / "open_clip_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"cannot be loaded"):
        encoders.load_encoder({"checkpoint": str(folder)})
    (folder / "open_clip_config.json").write_text('{"vision": 1}')
    with pytest.raises(InputError, match=r"open_clip_config.json is no open_clip config"):
        encoders.load_encoder({"checkpoint": str(folder)})


def test_incomplete_weights_are_refused(tiny, tmp_path):
    folder = copy_checkpoint(tiny, tmp_path)
    weights = load_file(folder / "open_clip_model.safetensors")
    weights.pop("visual.conv1.weight")
    save_file(weights, folder / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"cannot be loaded.*visual.conv1.weight"):
        encoders.load_encoder({"checkpoint": str(folder)})


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tmp_path):
    text_cfg = MODEL_CFG["text_cfg"] | {"vocab_size": 600}
    save_checkpoint(tmp_path / "small", model_cfg=MODEL_CFG | {"text_cfg": text_cfg})
    with pytest.raises(InputError, match="49408 tokens but its text model only 600"):
        encoders.load_encoder({"checkpoint": str(tmp_path / "small")})


def test_a_weights_file_of_another_architecture_is_refused(tiny):
    weights = tiny[0] / "open_clip_model.safetensors"
    with pytest.raises(InputError, match="RN50 cannot be loaded"):
        encoders.load_encoder({"model": "RN50", "pretrained": str(weights)})


def test_with_weights_replaces_local_paths_only():
    cfg = {"checkpoint": "config/tiny", "precision": "fp32"}
    files = [
        "/repo/config/tiny/open_clip_model.safetensors",
        "/repo/config/tiny/open_clip_config.json",
    ]
    assert encoders.with_weights(cfg, files) == cfg | {"checkpoint": "/repo/config/tiny"}
    cfg = {"model": "RN50", "pretrained": "w/x.pt"}
    assert encoders.with_weights(cfg, ["/repo/w/x.pt"]) == cfg | {"pretrained": "/repo/w/x.pt"}
    assert encoders.with_weights(cfg, []) == cfg


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named(tiny):
    with pytest.raises(InputError, match="torch sees no GPU"):
        encoders.load_encoder({"checkpoint": str(tiny[0]), "device": "cuda"})


def test_unknown_precision_is_refused(tiny):
    with pytest.raises(InputError, match="'int8' must be fp32, bf16 or fp16"):
        encoders.load_encoder({"checkpoint": str(tiny[0]), "precision": "int8"})
