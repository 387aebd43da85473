"""The open_clip_config.json of a checkpoint folder, checked before a model is built of it."""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from workflow_scripts.lib.encoders.files import CONFIG_NAME, WEIGHTS_NAME
from workflow_scripts.lib.errors import InputError

LARGEST = 1 << 20  # bytes of a config; those of open_clip have less than 2,000
Size = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1, le=8192)]
Sides = Side | Annotated[list[Side], Field(min_length=2, max_length=2)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Ratio = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Grey = Annotated[int, Field(ge=0, le=255)]


def three(of):
    return Annotated[list[of], Field(min_length=3, max_length=3)]


class Text(BaseModel):
    """The text model; the defaults are open_clip's."""

    context_length: Size = 77
    vocab_size: Size = 49408
    width: Size = 512
    heads: Size = 8
    layers: Layers = 12
    mlp_ratio: Ratio = 4.0
    hf_tokenizer_name: str | None = None
    hf_model_name: str | None = None
    tokenizer_mode: str | None = None
    tokenizer_kwargs: dict | None = None


class Vision(BaseModel):
    """The image model; the defaults are open_clip's."""

    layers: Layers | list[Layers] = 12
    width: Size = 768
    mlp_ratio: Ratio = 4.0
    patch_size: Sides | None = 16
    image_size: Sides = 224
    timm_model_name: str | None = None


class Model(BaseModel):
    """Both."""

    embed_dim: Size
    vision_cfg: Vision
    text_cfg: Text
    multimodal_cfg: Text | None = None
    quick_gelu: bool = False
    custom_text: bool = False


class Preprocess(BaseModel):
    """What images go through."""

    mean: three(Number) | None = None
    std: three(Ratio) | None = None
    interpolation: Literal["bicubic", "bilinear"] | None = None
    resize_mode: Literal["shortest", "squash", "longest"] | None = None
    fill_color: Grey | three(Grey) | None = None


class Config(BaseModel):
    """What reading relies on; open_clip has more keys."""

    model_cfg: Model
    preprocess_cfg: Preprocess | None = None


def read_model_cfg(folder):
    """The `model_cfg` of a checkpoint folder, a dict as open_clip takes it.

    Raises InputError naming the file and what is wrong in it, also if the model would be larger
    than the weights beside it can be: it would fill the memory before these are looked at.
    """
    path, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    remedy = f"copy {CONFIG_NAME} and {WEIGHTS_NAME} of one model into the folder again"
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        found = json.loads(path.read_text("utf-8"))
        config = Config.model_validate(found, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise InputError(
            f"{path} is no open_clip config ({where!r}: {first['msg']}): {remedy}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no open_clip config ({error}): {remedy}") from error
    needed, size = _parameters(config.model_cfg), weights.stat().st_size
    if needed > size:
        raise InputError(
            f"{path} tells of a model with {needed:.3g} parameters or more, but {weights} has "
            f"{size:,} bytes: {remedy}"
        )
    return found["model_cfg"]


def _parameters(model):
    """What a model of open_clip has at least: parameters, and the mask of its text model.

    Towers of timm and transformers have sizes of their own; of them nothing is counted.
    """
    vision, text, total = model.vision_cfg, model.text_cfg, model.embed_dim
    if not vision.timm_model_name:
        patches = (_longest(vision.image_size) / _longest(vision.patch_size or 32)) ** 2
        total += vision.width * (patches + model.embed_dim)
        if isinstance(vision.layers, list):  # a ResNet, of convolutions
            total += sum(vision.layers) * vision.width**2
        else:
            total += _of_layers(vision)
    if not text.hf_model_name:
        total += text.width * (text.vocab_size + text.context_length + model.embed_dim)
        total += _of_layers(text) + text.context_length**2
    return total


def _of_layers(tower):
    """Parameters of a transformer's layers: attention and two matrices after it."""
    return tower.layers * tower.width**2 * (4 + 2 * tower.mlp_ratio)


def _longest(sides):
    return max(sides) if isinstance(sides, list) else sides
