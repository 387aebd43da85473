"""What all encoders share: unit-norm embeddings of images and texts, prompt ensembles, checks."""

from abc import ABC, abstractmethod
from functools import partial

import numpy as np
import torch
from PIL import Image

from workflow_scripts.lib.errors import InputError, reason
from workflow_scripts.lib.images.resize import fit

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LARGEST_LOG_SCALE = 50  # CLIP is trained with at most 4.6, the logarithm of 100


class Encoder(ABC):
    """A model in evaluation mode with its preprocessing; made by `loading.load_encoder`.

    dim: length of an embedding. batch_size: texts, and by intent images, encoded at once.
    preprocess: an RGB PIL image resized and cropped as the model wants it, uint8 tensor [3, h, w]:
    the pixels of open_clip's own preprocessing up to rounding, computed faster. It knows nothing of
    the model, so that processes without one can run it. The conversion to float and the
    normalisation run on whole batches, on the model's device.
    A subclass says how its model turns pixels and texts into features.
    """

    def __init__(self, model, description, device, batch_size):
        """description: what `describe` returns, with dim, precision and preprocess."""
        self.model = model
        self.dim = description["dim"]
        self.batch_size = batch_size
        self._description = description
        self._device = device
        self._dtype = dtype_of(description["precision"])
        self.preprocess = partial(fit, **_fit_arguments(description))
        self._mean, self._std = (
            torch.tensor(description["preprocess"][key], device=device).view(3, 1, 1)
            for key in ("mean", "std")
        )

    @property
    def on_cpu(self):
        """Whether the model runs on the CPU."""
        return self._device.type == "cpu"

    @abstractmethod
    def _image_features(self, pixels):
        """Normalised pixels [b, 3, h, w] in the model's dtype to features [b, d] of any norm."""

    @abstractmethod
    def _text_features(self, texts):
        """A list of b <= batch_size strings to features [b, d] of any norm."""

    def describe(self):
        """What made the embeddings, as a dict of builtin types; equal dicts mean equal encoders."""
        return dict(self._description)

    def encode_images(self, batch):
        """Preprocessed images, uint8 [b, 3, h, w], to unit-norm embeddings, float32 [b, d]."""
        return self.unit(self.image_features(batch))

    @torch.inference_mode()
    def image_features(self, batch):
        """Preprocessed images, uint8 [b, 3, h, w], to features for `unit`, a tensor on the device.

        On a GPU it returns before they are computed, and if the batch is in pinned memory before it
        is read.
        """
        pixels = (batch.to(self._device, non_blocking=True).float() / 255 - self._mean) / self._std
        return self._image_features(pixels.to(self._dtype))

    @torch.inference_mode()
    def encode_texts(self, texts):
        """A list of n strings to unit-norm embeddings, float32 [n, d].

        Not for an encoder loaded with `texts=False`.
        """
        embeddings = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), self.batch_size):
            stop = start + self.batch_size
            embeddings[start:stop] = self.unit(self._text_features(texts[start:stop]))
        return embeddings

    def encode_prompts(self, prompts):
        """Embed V concepts, each given as a list of prompts, as float32 [V, d].

        e_j = norm(mean_p norm(g(p(t_j)))), the prompt ensemble of CLIP (arXiv 2103.00020).
        """
        flat = [prompt for group in prompts for prompt in group]
        return ensemble(self.encode_texts(flat), [len(group) for group in prompts])

    @torch.inference_mode()
    def unit(self, features):
        """Features [b, d] of images or texts to unit-norm embeddings, float32 [b, d].

        Raises InputError if one is zero or not finite.
        """
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


def not_loaded(name, files, error):
    """The InputError of a model that its library cannot make of its files, with what this says."""
    why = reason(error) or type(error).__name__
    return InputError(
        f"Encoder {name} cannot be loaded from {files} ({why}): copy the weights again if they are "
        "damaged, or name the model and config that they were saved with"
    )


def check_weights(model, weights, precision):
    """Raise InputError if the weights of a model cannot be those of a trained one.

    weights: their file. They must be finite, and CLIP's logit_scale, a logarithm, of moderate size.
    """
    state = model.state_dict()
    bad = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if not bad and "logit_scale" in state and abs(state["logit_scale"].item()) > LARGEST_LOG_SCALE:
        bad = ["logit_scale"]
    if bad:
        raise InputError(
            f"{weights}: {bad[0]} (and {len(bad) - 1} more) holds values in {precision} that no "
            "trained model has: copy the file again if it is damaged, or use precision fp32"
        )


def dtype_of(precision):
    """The torch.dtype of the images that a model of this precision takes. Raises InputError."""
    if precision not in DTYPES:
        raise InputError(f"encoder precision {precision!r} must be fp32, bf16 or fp16.")
    return DTYPES[precision]


def _fit_arguments(description):
    """The description of a preprocessing as the arguments of `resize.fit`."""
    preprocess = description["preprocess"]
    arguments = {
        "size": preprocess["size"],
        "mode": preprocess["resize_mode"] or "shortest",
        "interpolation": preprocess["interpolation"] or "bicubic",
        "fill": preprocess["fill_color"],
        "resize": description.get("resize_size"),
    }
    fit(Image.new("RGB", (1, 1)), **arguments)  # raises InputError now and not at the first image
    return arguments
