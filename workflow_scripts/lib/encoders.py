"""CLIP models from open_clip: loading with every silent fallback turned into an error, encoding.

Three things go wrong silently with open_clip and cannot here: a model with random weights, weights
run with the wrong activation (QuickGELU or GELU), and minutes of retries without a network.
"""

import contextlib
import difflib
import hashlib
import importlib.metadata
import json
import logging
import os
import sys
import types
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from workflow_scripts.lib.decoding import fit
from workflow_scripts.lib.errors import InputError

CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAME = "open_clip_model.safetensors"
HUB_WEIGHTS_NAME = "open_clip_pytorch_model.bin"  # older repositories of the model hub
HUB_TIMEOUT = 5.0  # seconds to wait for the model hub before saying that it is out of reach


class Encoder:
    """A CLIP model in evaluation mode; made by `load_encoder`.

    dim: length of an embedding. batch_size: texts, and by intent images, encoded at once.
    """

    def __init__(self, model, tokenizer, description, device, batch_size):
        import open_clip

        self.model = model
        self.dim = description["dim"]
        self.batch_size = batch_size
        self._tokenizer = tokenizer
        self._description = description
        self._device = device
        self._input_dtype = open_clip.get_input_dtype(description["precision"])
        self._fit = _fit_arguments(description["preprocess"])
        self._mean, self._std = (
            torch.tensor(description["preprocess"][key], device=device).view(3, 1, 1)
            for key in ("mean", "std")
        )

    def describe(self):
        """What made the embeddings, as a dict of builtin types; equal dicts mean equal encoders."""
        return dict(self._description)

    def preprocess(self, image):
        """An RGB PIL image resized and cropped as the model wants it, uint8 tensor [3, h, w].

        The pixels of open_clip's own preprocessing up to rounding, computed faster. Its conversion
        to float and normalisation run on whole batches, on the model's device.
        """
        return fit(image, **self._fit)

    @torch.inference_mode()
    def encode_images(self, batch):
        """Preprocessed images, uint8 [b, 3, h, w], to unit-norm embeddings, float32 [b, d]."""
        pixels = (batch.to(self._device).float() / 255 - self._mean) / self._std
        return self._unit(self.model.encode_image(pixels.to(self._input_dtype)))

    @torch.inference_mode()
    def encode_texts(self, texts):
        """A list of n strings to unit-norm embeddings, float32 [n, d]."""
        embeddings = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), self.batch_size):
            stop = start + self.batch_size
            tokens = self._tokenizer(texts[start:stop]).to(self._device)
            embeddings[start:stop] = self._unit(self.model.encode_text(tokens))
        return embeddings

    def encode_prompts(self, prompts):
        """Embed V concepts, each given as a list of prompts, as float32 [V, d].

        e_j = norm(mean_p norm(g(p(t_j)))), the prompt ensemble of CLIP (arXiv 2103.00020).
        """
        flat = [prompt for group in prompts for prompt in group]
        return ensemble(self.encode_texts(flat), [len(group) for group in prompts])

    def _unit(self, features):
        features = features.float()
        norms = features.norm(dim=-1, keepdim=True)
        if not (torch.isfinite(norms) & (norms > 0)).all():
            precision = self._description["precision"]
            raise InputError(
                f"The encoder's embeddings are zero or not finite in {precision}: use fp32."
            )
        return (features / norms).cpu().numpy()


def ensemble(embeddings, counts):
    """Unit-norm means of consecutive groups of prompt embeddings.

    embeddings: unit-norm float32 [sum(counts), d]. counts: V group sizes, all positive.
    Returns float32 [V, d].
    """
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    means = np.add.reduceat(embeddings, starts, axis=0) / np.asarray(counts)[:, None]
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def load_encoder(cfg, threads=1):
    """Load the model that the config block `cfg` describes.

    cfg keys:
        model, pretrained: an architecture of open_clip with a tag ("ViT-B-32-quickgelu" with
            "openai") or with a path of a weights file; or else
        checkpoint: a folder with open_clip_config.json and open_clip_model.safetensors.
        precision: fp32 (default), bf16 or fp16. device: auto (default), cpu or cuda.
        batch_size: default 256.
    threads: CPU threads of torch.

    Local weights never touch the network. A tag is taken from the local cache, or downloaded.
    For tags the activation (QuickGELU) is checked against the one used in training; a weights
    file does not tell its activation, so for local weights only names and shapes are checked:
    choose a "-quickgelu" architecture where the weights need it.
    Raises InputError.
    """
    local = "checkpoint" in cfg or Path(cfg.get("pretrained") or "").is_file()
    if local:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read by huggingface_hub when open_clip imports it
    torch.set_num_threads(threads)
    device = _device(cfg.get("device", "auto"))
    if "checkpoint" in cfg:
        source = _checkpoint_source(Path(cfg["checkpoint"]))
        if "timm" not in json.dumps(source["model_cfg"]):
            _import_without_timm()
    else:
        source = _model_source(cfg.get("model"), cfg.get("pretrained"))
    precision = cfg.get("precision", "fp32")
    model, tokenizer = _create(source, precision, device)
    description = {
        **source["identity"],
        "dim": source["model_cfg"]["embed_dim"],
        "precision": precision,
        "quick_gelu": source["model_cfg"].get("quick_gelu", False),
        "preprocess": json.loads(json.dumps(model.visual.preprocess_cfg)),
        "versions": {
            name: importlib.metadata.version(name) for name in ("open_clip_torch", "torch")
        },
    }
    return Encoder(model, tokenizer, description, device, cfg.get("batch_size", 256))


def with_weights(cfg, files):
    """The config block `cfg` with its local paths, if any, replaced by where the files are.

    files: paths of the checkpoint folder's files or of the weights file; empty for a tag.
    """
    if files and "checkpoint" in cfg:
        return cfg | {"checkpoint": str(Path(files[0]).parent)}
    return cfg | {"pretrained": str(files[0])} if files else cfg


def _import_without_timm():
    """Import open_clip without timm, and torchvision without torch's compiler.

    A model of open_clip's own classes needs neither, and they are half of the five CPU seconds
    that loading takes in every job. Does nothing if one of them is imported already.
    """
    compiler = types.ModuleType("torch._dynamo.utils")
    compiler.is_compile_supported = lambda device: False  # all that torchvision asks of it
    absent = {"timm": None, "torch._dynamo": types.ModuleType("torch._dynamo")}
    absent["torch._dynamo.utils"] = compiler
    if absent.keys() & sys.modules.keys():
        return
    sys.modules.update(absent)
    try:
        import open_clip  # noqa: F401
    except (ImportError, AttributeError):  # other versions may need more: import all of it then
        for name in [n for n in sys.modules if n.split(".")[0] in ("open_clip", "torchvision")]:
            del sys.modules[name]
    finally:
        for name in absent:
            del sys.modules[name]


def _device(name):
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("encoder device is cuda but torch sees no GPU: set device to auto or cpu.")
    return torch.device(name)


def _checkpoint_source(folder):
    config, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    for file in (config, weights):
        if not file.is_file():
            raise InputError(
                f"Encoder checkpoint {folder}: {file.name} is missing; the folder must hold "
                f"{CONFIG_NAME} and {WEIGHTS_NAME}."
            )
    try:
        model_cfg = json.loads(config.read_text("utf-8"))["model_cfg"]
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{config} is no open_clip config with a 'model_cfg' ({error!r})"
        ) from error
    return {
        "name": f"local-dir:{folder}",
        "model_cfg": model_cfg,
        "arguments": {},
        "identity": {"model": folder.name, "pretrained": WEIGHTS_NAME, "sha256": _sha256(weights)},
    }


def _model_source(model, pretrained):
    import open_clip

    if not model or not pretrained:
        raise InputError(
            "An encoder needs 'model' and 'pretrained', or 'checkpoint': "
            "a model without weights has random embeddings."
        )
    model_cfg = open_clip.get_model_config(model) if ":" not in model else None
    if model_cfg is None:
        close = difflib.get_close_matches(model, open_clip.list_models(), n=3)
        raise InputError(
            f"open_clip has no model {model!r}; close names: {', '.join(close) or '-'}."
        )
    source = {"name": model, "model_cfg": model_cfg}
    tag_cfg = open_clip.get_pretrained_cfg(model, pretrained)
    if tag_cfg:
        _check_activation(model, model_cfg, pretrained, tag_cfg)
        weights = _find_weights(model, pretrained, tag_cfg)
        source["arguments"] = {"pretrained": str(weights), "force_preprocess_cfg": tag_cfg}
    elif Path(pretrained).is_file():
        weights, pretrained = Path(pretrained), Path(pretrained).name
        source["arguments"] = {"pretrained": str(weights)}
        logging.warning(
            "%s: the activation (QuickGELU or GELU) cannot be checked for a weights file", weights
        )
    else:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise InputError(
            f"pretrained: {pretrained!r} is neither a file nor a tag of {model} (tags: {tags})."
        )
    identity = {"model": model, "pretrained": pretrained, "sha256": _sha256(weights)}
    return {**source, "identity": identity}


def _check_activation(model, model_cfg, tag, tag_cfg):
    """open_clip 3 only warns when weights meet the wrong activation."""
    import open_clip

    model_quick, tag_quick = model_cfg.get("quick_gelu", False), tag_cfg.get("quick_gelu", False)
    if model_quick != tag_quick:
        other = model.removesuffix("-quickgelu") if model_quick else f"{model}-quickgelu"
        hint = f"use model {other!r}" if other in open_clip.list_models() else "use another tag"
        raise InputError(
            f"QuickGELU mismatch: {tag!r} was trained with quick_gelu={tag_quick}, but {model!r} "
            f"has quick_gelu={model_quick}, so all embeddings would be wrong: {hint}."
        )


def _find_weights(model, tag, tag_cfg):
    """Path of a tag's weights: from the local cache of the model hub, or else downloaded."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repo, _, name = tag_cfg["hf_hub"].rpartition("/")
    names = [f"{Path(name).stem}.safetensors", name] if name else [WEIGHTS_NAME, HUB_WEIGHTS_NAME]
    for file in names:
        with contextlib.suppress(LocalEntryNotFoundError):
            return Path(hf_hub_download(repo, file, local_files_only=True))
    problem = _hub_problem()
    if not problem:
        for file in names:
            try:
                return Path(hf_hub_download(repo, file))
            except Exception as error:  # network, disk and hub errors share no base class
                problem = f"{type(error).__name__}: {error}"
    raise InputError(
        f"The weights of {model} with tag {tag!r} ({repo}) are not in the cache folder "
        f"{constants.HF_HUB_CACHE} and cannot be downloaded ({problem}). Run once with a network, "
        f"copy the cache folder from a machine that has it (HF_HOME names its parent), or set "
        "'pretrained' to a weights file."
    )


def _hub_problem():
    """Why the model hub is out of reach, or None. Its own client would retry for a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT)
    except Exception as error:  # depends on the HTTP library in use
        return f"no connection to {constants.ENDPOINT}: {error}"
    return None


def _create(source, precision, device):
    import open_clip

    if precision not in ("fp32", "bf16", "fp16"):
        raise InputError(f"encoder precision {precision!r} must be fp32, bf16 or fp16.")
    name = source["name"]
    try:
        model = open_clip.create_model(
            name, precision=precision, device=device, require_pretrained=True, **source["arguments"]
        )
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # malformed configs and weights fail in many ways
        reason = " ".join(str(error).split())[:500]
        raise InputError(f"Encoder {name} cannot be loaded: {reason}") from error
    vocabulary = source["model_cfg"]["text_cfg"].get("vocab_size", 49408)
    if getattr(tokenizer, "vocab_size", 0) > vocabulary:
        raise InputError(
            f"Encoder {name}: its tokenizer has {tokenizer.vocab_size} tokens but its text model "
            f"only {vocabulary}: set the tokenizer of its training in {CONFIG_NAME}."
        )
    return model.eval(), tokenizer


def _fit_arguments(preprocess):
    """open_clip's description of its preprocessing as the arguments of `decoding.fit`."""
    arguments = {
        "size": preprocess["size"],
        "mode": preprocess["resize_mode"] or "shortest",
        "interpolation": preprocess["interpolation"] or "bicubic",
        "fill": preprocess["fill_color"],
    }
    fit(Image.new("RGB", (1, 1)), **arguments)  # raises InputError now and not at the first image
    return arguments


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
