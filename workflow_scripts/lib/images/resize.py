"""From an image to the pixels that a model sees: resize and crop.

The pixels are those of open_clip's own preprocessing (Pillow), computed faster: Pillow spends
most of its time in the resize, for which torch has a vectorised kernel of the same filters.
"""

import PIL
import pyarrow as pa
import torch

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.decode import MAX_PIXELS, BadImage

MODES = ("shortest", "squash", "longest")
INTERPOLATIONS = ("bicubic", "bilinear")
PILLOW_VERSION = int(PIL.__version__.split(".")[0])


def fit(image, size, mode="shortest", interpolation="bicubic", fill=0, resize=None):
    """Resize and crop an RGB `PIL.Image` to a model's input, as open_clip 3 and timm do.

    size: side of a square or (height, width), in pixels.
    mode: "shortest" makes the shorter side fit and crops the centre; "squash" ignores the aspect
        ratio; "longest" makes the longer side fit and pads around the centre with `fill` (0..255,
        one value or three).
    interpolation: "bicubic" or "bilinear", both antialiased. As in open_clip, "shortest" with a
        height that differs from the width is always bicubic.
    resize: what the resize aims at where it is not `size`, as in timm, which crops a part.

    Equal to the Pillow version of open_clip's transform to one grey level, but for fewer than one
    value in 50,000 that differs by two (rounding in both passes). Where the two disagree because of
    an image's mode, this is open_clip applied to the RGB image: open_clip itself resizes first,
    which blurs palettes, weighs colours by alpha and pads CMYK with white.
    Returns a uint8 tensor [3, h, w], contiguous. Raises InputError for arguments out of range and
    BadImage for an image so elongated that it would exceed MAX_PIXELS once resized.
    """
    height, width = _target(size, mode, interpolation)
    aim = (height, width) if resize is None else _target(resize, mode, interpolation)
    if mode == "shortest" and aim[0] != aim[1]:
        interpolation = "bicubic"
    resized = resized_size(image.height, image.width, aim, mode)
    if resized[0] * resized[1] > MAX_PIXELS:
        raise BadImage(
            f"too elongated: {image.width} x {image.height} pixels would become "
            f"{resized[1]} x {resized[0]}"
        )
    pixels = _resize(_pixels(image), resized, interpolation)[0, :3]
    return _centre(pixels, height, width, fill).contiguous()


def resized_size(height, width, size, mode):
    """Height and width after the resize and before the crop, by open_clip's rounding.

    size: (height, width) of the model's input. A side that would round to nothing becomes one
    pixel, where open_clip fails.
    """
    if mode == "squash":
        return size
    if mode == "shortest" and size[0] == size[1]:  # torchvision's Resize: rounds down
        if width <= height:
            return int(size[0] * height / width), size[0]
        return size[0], int(size[0] * width / height)
    ratios = height / size[0], width / size[1]
    ratio = max(ratios) if mode == "longest" else min(ratios)
    return max(round(height / ratio), 1), max(round(width / ratio), 1)


def _target(size, mode, interpolation):
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise InputError(f"image size {size!r} must be a positive integer or two: height, width.")
    if mode not in MODES:
        raise InputError(f"resize mode {mode!r} must be one of {', '.join(MODES)}.")
    if interpolation not in INTERPOLATIONS:
        names = " or ".join(INTERPOLATIONS)
        raise InputError(f"interpolation {interpolation!r} must be {names}.")
    return sides


def _pixels(image):
    """An RGB image as uint8 [1, c, h, w], channels last in memory; c is 3, or 4 with padding."""
    try:  # shares Pillow's memory, which has four bytes per pixel
        values = torch.from_dlpack(pa.array(image).flatten())
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        # an image of several memory blocks (above 16 MiB), or an older Pillow
        values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    # The batch axis comes first, not by indexing: only so does torch see "channels last".
    return values.view(1, image.height, image.width, -1).permute(0, 3, 1, 2)


def _resize(pixels, size, interpolation):
    height, width = pixels.shape[-2:]
    if (height, width) == size:
        return pixels
    if _vertically_first(height - size[0], width - size[1]):
        pixels = _interpolate(pixels, (size[0], width), interpolation)
    return _interpolate(pixels, size, interpolation)  # horizontally first


def _vertically_first(lost_height, lost_width):
    """Pillow's order of the two passes, as observed: always horizontally first before Pillow 13.

    It is visible: rounding and, for bicubic, clipping take place between the passes.
    """
    return PILLOW_VERSION >= 13 and lost_height > max(2 * lost_width, 0)


def _interpolate(pixels, size, interpolation):
    return torch.nn.functional.interpolate(pixels, size, mode=interpolation, antialias=True)


def _centre(pixels, height, width, fill):
    """Pad with `fill`, then crop, around the centre; pixels: [3, h, w]."""
    _, own_height, own_width = pixels.shape
    if own_height < height or own_width < width:
        sides = max(height, own_height), max(width, own_width)
        top, left = (sides[0] - own_height) // 2, (sides[1] - own_width) // 2
        fill = torch.tensor(fill, dtype=torch.uint8).view(-1, 1, 1)
        canvas = fill.expand(3, *sides).clone()
        canvas[:, top : top + own_height, left : left + own_width] = pixels
        pixels = canvas
    top = round((pixels.shape[1] - height) / 2)
    left = round((pixels.shape[2] - width) / 2)
    return pixels[:, top : top + height, left : left + width]
