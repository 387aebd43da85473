"""Image models of timm (DINOv2 and others) as encoders: pooled features, no texts."""

import difflib
import importlib.metadata
from pathlib import Path

import numpy as np
import timm

from workflow_scripts.lib.encoders.base import Encoder, check_weights, dtype_of, not_loaded
from workflow_scripts.lib.encoders.files import sha256_of
from workflow_scripts.lib.encoders.hub import hub_file
from workflow_scripts.lib.errors import InputError

WEIGHTS_NAMES = ["model.safetensors", "pytorch_model.bin"]
RESIZE_MODES = {"center": "shortest", "squash": "squash", "border": "longest"}


class TimmEncoder(Encoder):
    """An image model without texts; made by `load`."""

    def _image_features(self, pixels):
        return self.model(pixels)

    def _text_features(self, texts):
        model = self.describe()["model"]
        raise InputError(f"{model} of timm has no text model: choose an open_clip encoder.")


def load(cfg, device, texts):
    """Load the image model that the config block `cfg` describes, with its classifier removed.

    See `loading.load_encoder`.

    cfg keys:
        model: a name of timm, e.g. "vit_base_patch14_dinov2.lvd142m"; without a tag, timm's
            default one.
        pretrained: a weights file in timm's format, with or without the classifier; default the
            weights of the tag, from the local cache of the model hub or downloaded.
        precision: low precision holds for all layers.
    device: a torch.device. texts: of no effect, since the model has none.

    The embedding is what timm calls pooled features (`num_classes=0`), at the input size, the
    resize before the crop (floor(size / crop_pct)), mean and std of the tag. Weights that leave a
    parameter of the model unset are refused. Raises InputError.
    """
    known = _known(cfg["model"])
    name = f"{known.architecture}.{known.tag}" if known.tag else known.architecture
    weights = _weights_file(name, known, cfg.get("pretrained"))
    precision = cfg.get("precision", "fp32")
    dtype = dtype_of(precision)
    model = _create(name, known.classifier, weights, own="pretrained" in cfg)
    model = model.to(device=device, dtype=dtype).eval()
    check_weights(model, weights, precision)
    data = timm.data.resolve_model_data_config(model)
    description = {
        "model": name,
        "pretrained": weights.name,
        "sha256": sha256_of(weights),
        "dim": model.head_hidden_size,
        "precision": precision,
        **_preprocess(data),
        "logit_scale": None,
        "logit_bias": None,
        "versions": {name: importlib.metadata.version(name) for name in ("timm", "torch")},
    }
    return TimmEncoder(model, description, device, cfg.get("batch_size", 256))


def _known(name):
    """timm's record of a model and tag."""
    try:
        return timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        names = timm.list_models(pretrained=True)
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        raise InputError(
            f"timm has no model {name!r}; close names: {', '.join(close) or '-'}."
        ) from None


def _weights_file(name, known, own):
    """Path of the user's own weights file, or else of the tag's."""
    if own is not None:
        if not Path(own).is_file():
            raise InputError(
                f"pretrained: {own!r} is no weights file; name a tag in 'model' (as in "
                "vit_base_patch14_dinov2.lvd142m) to take timm's own weights."
            )
        return Path(own)
    remedy = "set 'pretrained' to a weights file"
    if not known.hf_hub_id:
        where = f" (theirs are at {known.url})" if known.url else ""
        raise InputError(
            f"The model hub has no weights of timm for {name}, and without weights embeddings are "
            f"random: {remedy}{where}, or choose another tag."
        )
    return hub_file(known.hf_hub_id, WEIGHTS_NAMES, f"The weights of {name}", remedy)


def _create(name, classifier, weights, own):
    """The model with these weights, all of them, and without its classifier.

    The model is made with the classifier that the weights have: only then does timm insist that
    every weight finds its place.
    """
    try:
        state = timm.models.load_state_dict(weights, use_ema=False, weights_only=True)
        if not state:
            raise ValueError("it has no tensors")  # timm would download its own
        source = {"state_dict": state, "custom_load": False}
        if own:
            head = state.get(f"{np.atleast_1d(classifier)[0]}.weight")
            source |= {"num_classes": 0 if head is None else len(head), "label_offset": None}
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source)
    except Exception as error:  # malformed weights fail in many ways
        raise not_loaded(name, weights, error) from error
    model.pretrained_cfg.pop("state_dict", None)
    model.reset_classifier(0)
    return model


def _preprocess(data):
    """timm's data config in the words of open_clip's preprocessing.

    timm resizes to `resize_size` and then crops the centre of `size`; open_clip has one size.
    """
    size = data["input_size"][1:]
    return {
        "preprocess": {
            "size": list(size),
            "mode": "RGB",
            "mean": list(data["mean"]),
            "std": list(data["std"]),
            "interpolation": data["interpolation"],
            "resize_mode": RESIZE_MODES[data["crop_mode"]],
            "fill_color": [round(255 * value) for value in data["mean"]],
        },
        "resize_size": [int(side / data["crop_pct"]) for side in size],
    }
