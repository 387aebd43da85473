"""The fast path gives the pixels of open_clip's own preprocessing."""

import gc
import io

import numpy as np
import pytest
import torch
from image_files import png_header
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data import create_transform

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import decode as images
from workflow_scripts.lib.images import resize as decoding
from workflow_scripts.lib.images.resize import fit

SHAPES = [(500, 375), (375, 500), (100, 80), (32, 32), (224, 224), (900, 200), (150, 500), (7, 90)]


def photo(width, height, seed=0, noise=12, contrast=45):
    """Smooth shapes (1/f noise) with pixel noise, an edge, and clipped lights, RGB."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.rfftfreq(width)[None], np.fft.fftfreq(height)[:, None])
    frequency[0, 0] = 1
    waves = np.fft.rfft2(rng.standard_normal((3, height, width))) / frequency
    pixels = np.fft.irfft2(waves, s=(height, width)).transpose(1, 2, 0)
    pixels = 128 + contrast * (pixels - pixels.mean()) / pixels.std()
    pixels += noise * rng.standard_normal(pixels.shape)
    pixels[:, width // 3] = 255
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def encoded(image, kind="JPEG", **options):
    content = io.BytesIO()
    image.save(content, kind, **({"quality": 90} if kind == "JPEG" else {}) | options)
    return content.getvalue()


def decoded(content, *arguments, **more):
    return fit(images.open_rgb(content), *arguments, **more)


def by_open_clip(image, **preprocess):
    """uint8 [3, h, w] as open_clip's transform has it before the conversion to float."""
    transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
    transform.transforms = transform.transforms[:-2]
    return torch.from_numpy(np.array(transform(image))).permute(2, 0, 1)


def assert_equal_to_rounding(pixels, expected):
    """Equal within 1/255; two roundings that add up are allowed for 1 value in 50,000."""
    assert pixels.dtype == torch.uint8
    assert pixels.shape == expected.shape
    difference = (pixels.int() - expected.int()).abs()
    assert difference.max() <= 2
    assert (difference > 1).sum() <= max(difference.numel() / 50_000, 1)
    assert difference.float().mean() < 0.05


@pytest.mark.parametrize("mode", decoding.MODES)
@pytest.mark.parametrize("interpolation", decoding.INTERPOLATIONS)
@pytest.mark.parametrize("size", [224, (96, 160), (160, 96)])
def test_jpeg_as_open_clip(mode, interpolation, size):
    preprocess = {"size": size, "resize_mode": mode, "interpolation": interpolation}
    for seed, shape in enumerate(SHAPES):
        content = encoded(photo(*shape, seed))
        pixels = decoded(content, size, mode, interpolation, fill=9)
        expected = by_open_clip(Image.open(io.BytesIO(content)), fill_color=9, **preprocess)
        assert_equal_to_rounding(pixels, expected)
        assert pixels.is_contiguous()


@pytest.mark.parametrize("mode", decoding.MODES)
@pytest.mark.parametrize("shape", [(300, 100), (100, 300), (130, 120)])
def test_pure_noise_as_open_clip(mode, shape):
    """Noise of full contrast is clipped between the passes, which makes their order visible."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert_equal_to_rounding(fit(image, 64, mode), by_open_clip(image, size=64, resize_mode=mode))


@pytest.mark.parametrize("mode", decoding.MODES)
@pytest.mark.parametrize("kind", ["L", "RGBA", "CMYK"])
def test_other_image_modes_as_open_clip_where_it_is_sound(mode, kind):
    """Square images, since open_clip pads CMYK with white; with full alpha and without black."""
    image = photo(140, 140).convert(kind)
    content = encoded(image, "TIFF" if kind == "CMYK" else "PNG")
    expected = by_open_clip(Image.open(io.BytesIO(content)), size=64, resize_mode=mode)
    assert_equal_to_rounding(decoded(content, 64, mode), expected)


def test_alpha_palette_and_black_as_open_clip_on_the_rgb_image():
    image = photo(140, 100)
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    ink = np.array(image.convert("CMYK"))
    ink[..., 3] = ink[..., 0] // 2
    cases = {"alpha": alpha, "palette": image.quantize(32), "ink": Image.fromarray(ink, "CMYK")}
    for name, case in cases.items():
        content = encoded(case, "TIFF" if name == "ink" else "PNG")
        rgb = Image.open(io.BytesIO(content)).convert("RGB")
        expected = by_open_clip(rgb, size=64, resize_mode="longest", fill_color=200)
        pixels = decoded(content, 64, "longest", fill=200)
        assert_equal_to_rounding(pixels, expected)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", decoding.INTERPOLATIONS)
def test_a_part_is_cropped_as_by_timm(crop_mode, interpolation):
    fill = (120, 117, 104)
    transform = create_transform(
        (3, 96, 96), is_training=False, use_prefetcher=True, crop_pct=0.875, crop_mode=crop_mode,
        interpolation=interpolation, mean=[value / 255 for value in fill],
    )  # fmt: skip
    mode = {"center": "shortest", "squash": "squash", "border": "longest"}[crop_mode]
    for seed, shape in enumerate(SHAPES):
        image = photo(*shape, seed)
        pixels = fit(image, 96, mode, interpolation, fill=fill, resize=int(96 / 0.875))
        assert_equal_to_rounding(pixels, torch.as_tensor(transform(image)))


def test_an_image_that_fits_is_not_changed():
    image = photo(64, 64)
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for mode in decoding.MODES:
        assert torch.equal(fit(image, 64, mode), expected)


def test_sides_do_not_vanish():
    assert decoding.resized_size(1, 1000, (100, 100), "longest") == (1, 100)
    assert fit(Image.new("RGB", (1, 1), (9, 9, 9)), 8).eq(9).all()


def test_shared_and_copied_memory_give_the_same_pixels(monkeypatch):
    image = photo(500, 375)
    shared = fit(image, 224)

    def refuse(image):
        raise ValueError("Image rows are not contiguous in memory.")

    monkeypatch.setattr(decoding.pa, "array", refuse)
    assert torch.equal(fit(image, 224), shared)


def test_image_of_several_memory_blocks():
    image = Image.new("RGB", (3000, 2000), (10, 20, 30))
    image.paste((200, 100, 50), (0, 0, 3000, 1000))
    pixels = fit(image, 64, "squash")
    assert pixels[:, :30].flatten(1).T.unique(dim=0).tolist() == [[200, 100, 50]]
    assert pixels[:, 34:].flatten(1).T.unique(dim=0).tolist() == [[10, 20, 30]]


def test_result_owns_its_memory():
    image = photo(64, 64)
    pixels = fit(image, 64)
    before = pixels.clone()
    image.paste((0, 0, 0), (0, 0, 64, 64))
    del image
    gc.collect()
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("pillows_limit", [True, False])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_too_many_pixels_are_refused_by_the_header(monkeypatch, pillows_limit):
    if not pillows_limit:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(images.BadImage, match=r"too many pixels.*900000000"):
        decoded(png_header(30_000, 30_000), 224)
    with pytest.raises(images.BadImage, match="cannot be decoded"):
        decoded(png_header(100, 100), 224)  # below the limit


def test_elongated_images_that_would_need_gigabytes():
    with pytest.raises(images.BadImage, match="1 x 60000 pixels would become 224 x 13440000"):
        fit(Image.new("RGB", (1, 60_000)), 224)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0,), "image size 0"),
        (((224, 224, 3),), "image size"),
        ((224.0,), "image size"),
        ((224, "stretch"), "'stretch' must be one of shortest, squash, longest"),
        ((224, "squash", "nearest"), "'nearest' must be bicubic or bilinear"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        fit(Image.new("RGB", (4, 4)), *arguments)
