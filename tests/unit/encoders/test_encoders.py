import importlib.machinery
import json
import re
import shutil
import sys
import time
import types
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
import yaml
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_checkpoint import MODEL_CFG, save_checkpoint

from workflow_scripts.lib.encoders import open_clip as encoders
from workflow_scripts.lib.encoders.hub import NotInHub, hub_file
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


def fill_cache(cache, repo):
    """An empty snapshot of a repository in a cache folder of the model hub."""
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text("0" * 40)
    (root / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return root / "snapshots" / ("0" * 40)


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


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub within reach whose cache is empty; answers file name -> exception or text."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    answers, asked = {}, []

    def download(repo, name, local_files_only=False):
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        asked.append(name)
        response = types.SimpleNamespace(headers={}, request=None)
        missing = RemoteEntryNotFoundError(f"no {name}", response=response)
        answer = answers.get(name, missing)
        if isinstance(answer, Exception):
            raise answer
        (tmp_path / name).write_text(answer)
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr("workflow_scripts.lib.encoders.hub.hub_problem", lambda: None)
    return answers, asked


def test_only_a_file_that_the_hub_lacks_makes_way_for_the_next_name(hub):
    from huggingface_hub.errors import LocalEntryNotFoundError

    answers, asked = hub
    find = partial(hub_file, "some/repo", ["a", "b"], "The weights", "buy some")
    answers["b"] = "weights"
    assert find().read_text() == "weights"
    assert asked == ["a", "b"]
    for failure in (OSError("No space left"), LocalEntryNotFoundError("connection lost")):
        asked.clear()
        answers["a"] = failure
        with pytest.raises(
            InputError, match=rf"a or b of some/repo .*\({type(failure).__name__}: {failure}\)"
        ):
            find()
        assert asked == ["a"]
    answers.clear()
    with pytest.raises(NotInHub, match="buy some"):
        find()


def test_a_tokenizer_does_without_special_tokens_only_if_the_hub_has_none(hub):
    answers, _ = hub
    answers |= {"tokenizer.json": "{}", "tokenizer_config.json": "{}"}
    folder = Path(encoders._tokenizer_folder("siglip", "some/repo"))
    assert (folder / "tokenizer.json").read_text() == "{}"
    answers["special_tokens_map.json"] = OSError("No space left")
    with pytest.raises(InputError, match=r"special_tokens_map.json .*No space left"):
        encoders._tokenizer_folder("siglip", "some/repo")


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
    for broken in ({}, MODEL_CFG | {"text_cfg": {"tokenizer_kwargs": {"no": 1}}}):
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": broken}))
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


@pytest.mark.parametrize(
    ("model", "mean", "resize_mode"),
    [("ViT-B-16-SigLIP2", 0.5, "squash"), ("PE-Core-B-16", 0.5, "squash"), ("RN50", 0.48, None)],
)
def test_a_weights_file_is_preprocessed_as_the_tags_of_its_model(model, mean, resize_mode):
    found = encoders._usual_preprocessing(model, "x.pt")
    assert found["mean"][0] == pytest.approx(mean, abs=0.01)
    assert found["resize_mode"] == (resize_mode or "shortest")


def test_a_weights_file_of_a_model_whose_tags_differ_is_preprocessed_as_clip(caplog):
    assert encoders._usual_preprocessing("ViT-H-14-quickgelu", "x.pt") is None  # metaclip and dfn5b
    assert "differ in their preprocessing" in caplog.text


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


# ---- scale and bias of logits -----------------------------------------------------------------


def test_the_description_holds_the_scale_and_bias_of_the_logits(tiny, tmp_path):
    assert tiny[2].describe()["logit_scale"] == pytest.approx(1 / 0.07)  # CLIP's first value
    assert tiny[2].describe()["logit_bias"] is None
    siglip = MODEL_CFG | {"init_logit_scale": np.log(10), "init_logit_bias": -10.0}
    model = save_checkpoint(tmp_path / "siglip", model_cfg=siglip)
    encoder = encoders.load_encoder({"checkpoint": str(tmp_path / "siglip"), "device": "cpu"})
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


# ---- towers of timm and tokenizers of transformers --------------------------------------------

TOWER_CFG = MODEL_CFG | {
    "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear",
                   "timm_model_pretrained": False, "image_size": 160},
}  # fmt: skip


def save_tower(folder, text_cfg=MODEL_CFG["text_cfg"]):
    """A checkpoint whose image model is timm's, as those of EVA02, SigLIP and PE are."""
    model_cfg = TOWER_CFG | {"text_cfg": text_cfg}
    torch.manual_seed(0)
    built = json.loads(json.dumps(TOWER_CFG))  # open_clip changes it
    model = open_clip.CustomTextCLIP(**built).eval()
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model_cfg | {"custom_text": True}, "preprocess_cfg": {}})
    )
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


def test_a_checkpoint_with_a_tower_of_timm_is_loaded_with_timm(tmp_path, monkeypatch):
    model = save_tower(tmp_path / "tower")

    def refuse():
        raise AssertionError("open_clip must be imported with timm")

    monkeypatch.setattr(encoders, "_import_without_timm", refuse)
    encoder = encoders.load_encoder({"checkpoint": str(tmp_path / "tower"), "device": "cpu"})
    picture = pictures(1)[0].resize((160, 160))  # the model's size, so no resize rounds
    preprocess = image_transform_v2(PreprocessCfg(size=160), is_train=False)
    with torch.no_grad():
        expected = unit(model.encode_image(preprocess(picture)[None]).numpy())
    assert np.allclose(
        encoder.encode_images(encoder.preprocess(picture)[None]), expected, atol=1e-5
    )


def test_without_transformers_a_tokenizer_of_its_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"needs the package transformers.*pip install"):
        encoders.load_encoder({"model": "ViT-B-16-SigLIP2", "pretrained": "webli"})
    save_tower(tmp_path / "siglip", MODEL_CFG["text_cfg"] | {"hf_tokenizer_name": "some/name"})
    with pytest.raises(InputError, match=r"'some/name', which needs the package transformers"):
        encoders.load_encoder({"checkpoint": str(tmp_path / "siglip")})


def test_images_need_no_tokenizer(tmp_path, fake_transformers):
    folder = tmp_path / "siglip"
    model = save_tower(folder, MODEL_CFG["text_cfg"] | {"hf_tokenizer_name": "some/name"})
    cfg = {"checkpoint": str(folder), "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "transformers", None)
        encoder = encoders.load_encoder(cfg, texts=False)
    picture = encoder.preprocess(pictures(1)[0])[None]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    with torch.no_grad():
        expected = unit(model.encode_image((picture / 255 - mean) / std).numpy())
    assert np.allclose(encoder.encode_images(picture), expected, atol=1e-5)
    (folder / "tokenizer.json").touch()
    assert encoders.load_encoder(cfg, texts=True).describe() == encoder.describe()


class FakeTokenizer:
    """Stands for transformers.AutoTokenizer: knows the folders that have a tokenizer.json."""

    @classmethod
    def from_pretrained(cls, source, **kwargs):
        if not (Path(source) / "tokenizer.json").is_file():
            raise OSError(f"no tokenizer in {source}")
        return cls()

    def __call__(self, texts, max_length, **kwargs):
        ids = torch.zeros(len(texts), max_length, dtype=torch.long)
        return types.SimpleNamespace(input_ids=ids)


@pytest.fixture
def fake_transformers(monkeypatch):
    module = types.ModuleType("transformers")
    module.__spec__ = importlib.machinery.ModuleSpec("transformers", None)
    module.AutoTokenizer = FakeTokenizer
    monkeypatch.setitem(sys.modules, "transformers", module)


def test_a_missing_tokenizer_of_the_hub_is_named(fake_transformers, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as error:
        encoders.load_encoder({"model": "ViT-B-16-SigLIP2", "pretrained": "webli"})
    for part in ("tokenizer.json", "timm/ViT-B-16-SigLIP2", str(tmp_path), "OFFLINE", "checkpoint"):
        assert part in str(error.value)

    snapshot = fill_cache(tmp_path, "timm/ViT-B-16-SigLIP2")
    (snapshot / "tokenizer.json").touch()
    (snapshot / "tokenizer_config.json").touch()
    with pytest.raises(InputError, match=r"weights of ViT-B-16-SigLIP2 .* open_clip_model"):
        encoders.load_encoder({"model": "ViT-B-16-SigLIP2", "pretrained": "webli"})


def test_a_checkpoint_folder_must_hold_its_tokenizer(fake_transformers, tmp_path):
    folder = tmp_path / "siglip"
    save_tower(folder, MODEL_CFG["text_cfg"] | {"hf_tokenizer_name": "some/name"})
    with pytest.raises(InputError, match=r"from .*siglip \(tokenizer.json and .*: no tokenizer in"):
        encoders.load_encoder({"checkpoint": str(folder)})
    (folder / "tokenizer.json").touch()
    encoder = encoders.load_encoder({"checkpoint": str(folder), "device": "cpu"})
    assert encoder.encode_texts(["fox"]).shape == (1, 16)


# ---- image models of timm ---------------------------------------------------------------------


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
    return encoders.load_encoder(cfg | more)


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


def test_unknown_timm_models_and_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no model 'vit_base_patch14_dino2'; close names: .*dino"):
        load_timm(tmp_path / "x.pt", "vit_base_patch14_dino2")
    with pytest.raises(InputError, match=r"no model 'test_vit.r161'; close names: .*r160_in1k"):
        load_timm(tmp_path / "x.pt", "test_vit.r161")
    with pytest.raises(InputError, match=r"x.pt' is no weights file; name a tag in 'model'"):
        load_timm(tmp_path / "x.pt")
    # timm has this architecture, but no weights of it.
    with pytest.raises(InputError, match=r"no weights of timm for vit_base_patch32_plus_256.*rand"):
        encoders.load_encoder({"method": "timm", "model": "vit_base_patch32_plus_256"})


def test_a_timm_tag_comes_from_the_cache_or_is_named(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cfg = {"method": "timm", "model": "test_vit.r160_in1k", "device": "cpu"}
    with pytest.raises(InputError) as error:
        encoders.load_encoder(cfg)
    for part in ("model.safetensors", "timm/test_vit.r160_in1k", str(tmp_path), "HF_HOME"):
        assert part in str(error.value)
    snapshot = fill_cache(tmp_path, "timm/test_vit.r160_in1k")
    save_timm(snapshot / "model.safetensors")
    save_timm(tmp_path / "x.safetensors")
    tagged, own = encoders.load_encoder(cfg), load_timm(tmp_path / "x.safetensors")
    batch = tagged.preprocess(pictures(1)[0])[None]
    assert np.array_equal(tagged.encode_images(batch), own.encode_images(batch))


# ---- the table of encoders to copy ------------------------------------------------------------

TABLE = Path(__file__).parents[3].joinpath("config/encoders.md").read_text("utf-8")
ROWS = [
    (yaml.safe_load(block), int(dim), int(size), tokenizer)
    for block, dim, size, tokenizer in re.findall(
        r"^\| `(.+)` \| (\d+) \| (\d+) \| (\w+) \|$", TABLE, re.MULTILINE
    )
]


def test_the_table_has_all_its_rows():
    assert len(ROWS) == TABLE.count("| `{method") > 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0]["model"])
def test_the_table_agrees_with_the_libraries(row):
    block, dim, size, tokenizer = row
    if block["method"] == "timm":
        known = timm.get_pretrained_cfg(block["model"], allow_unregistered=False)
        with torch.device("meta"):
            model = timm.create_model(block["model"], num_classes=0)
        assert known.hf_hub_id
        assert (model.head_hidden_size, known.input_size) == (dim, (3, size, size))
        assert tokenizer == "none"
        return
    model, tag = block["model"], block["pretrained"]
    assert (model, tag) in open_clip.list_pretrained()
    config, tag_config = open_clip.get_model_config(model), open_clip.get_pretrained_cfg(model, tag)
    encoders._check_activation(model, config, tag, tag_config)
    assert tag_config["hf_hub"]
    assert (config["embed_dim"], config["vision_cfg"]["image_size"]) == (dim, size)
    theirs = config["text_cfg"].get("hf_tokenizer_name")
    assert tokenizer == ("transformers" if theirs else "CLIP")
