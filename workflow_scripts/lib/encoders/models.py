"""Config blocks of the encoders."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from workflow_scripts.lib.config.base import Block, Count, Named, OneOrMore, one_of, optional
from workflow_scripts.lib.config.messages import wrong
from workflow_scripts.lib.encoders.files import WEIGHTS_ENDINGS, is_weights_file
from workflow_scripts.lib.texts.models import Prompts

METHOD = Field(description="Kind of encoder.")


def _weights_file(pretrained):
    if not is_weights_file(pretrained):
        raise wrong(
            f": {pretrained!r} is no weights file ({', '.join(WEIGHTS_ENDINGS)}); timm's tags "
            "belong to 'model', as in vit_base_patch14_dinov2.lvd142m"
        )
    return pretrained


class Network(Block):
    """A model that the workflow runs."""

    method: str = METHOD
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Arithmetic of the model."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs; auto takes a GPU if there is one."
    )
    batch_size: Count = Field(256, description="Images per forward pass.")
    threads: Count = Field(
        8,
        description="CPU cores of one embedding job: processes that decode and, without GPU, "
        "threads of the model.",
    )


class OpenClip(Network):
    """An open_clip model with a pretrained tag or with weights on disk."""

    method: Literal["open_clip"] = METHOD
    model: str = optional("open_clip architecture, e.g. ViT-B-16. Not with `checkpoint`.")
    pretrained: str = optional(
        "Pretrained tag of `model` (e.g. openai), or a weights file on disk (with a slash or an "
        "ending as .safetensors or .pt)."
    )
    checkpoint: str = optional("Folder with open_clip_config.json and open_clip_model.safetensors.")
    prompts: Prompts = optional(
        "Templates of this encoder's own. For the parts of speech named here they serve in place "
        "of the corpus's, of which the other parts stay."
    )


class Timm(Network):
    """An image model of timm, such as DINOv2; for benchmarks, it has no texts."""

    method: Literal["timm"] = METHOD
    model: str = Field(description="timm's name and tag, e.g. vit_base_patch14_dinov2.lvd142m.")
    pretrained: Annotated[str, AfterValidator(_weights_file)] = optional(
        "Weights file on disk, never a tag; else the weights of the tag in `model`, downloaded "
        "once."
    )


class Stored(Block):
    """Embeddings on disk, an array with its index or a folder of clip-retrieval."""

    embeddings: str = optional("File .npy, [images or concepts, dimensions].")
    index: str = optional("Parquet file of the same rows, with the column image_id or concept.")
    clip_retrieval: str = optional(
        "In place of these two, a folder of clip-retrieval with metadata and img_emb or text_emb. "
        "The column image_path gives the ids of images, caption the concepts."
    )

    @model_validator(mode="after")
    def _one_way(self):
        given = self.model_fields_set & {"embeddings", "index", "clip_retrieval"}
        if given not in ({"embeddings", "index"}, {"clip_retrieval"}):
            raise wrong(": give embeddings and index, or clip_retrieval")
        return self


class StoredImages(Stored):
    """Embeddings of an image set, which may have labels."""

    label_column: str | None = Field(
        None, description="Column of the index with class names, used for evaluation only."
    )


class Precomputed(Block):
    """Embeddings that you already have, as .npy with a Parquet index of the same rows, or as a
    folder that clip-retrieval wrote."""

    method: Literal["precomputed"] = METHOD
    images: Named[StoredImages] = Field({}, description="Per image set, its embeddings.")
    texts: Named[OneOrMore[Stored]] = Field(
        {},
        description="Per corpus, one or more lists of text embeddings, joined in this order. "
        "Benchmarks need none.",
    )


AnyEncoder = one_of(OpenClip, Timm, Precomputed)
