"""Decoding gives upright RGB pixels or a reason."""

import errno
import io
import resource
from pathlib import Path

import numpy as np
import pytest
from image_files import picture, png_header
from PIL import Image

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import decode
from workflow_scripts.lib.images.decode import BadImage, BrokenImage, measure, open_rgb

RED, BLUE = (200, 30, 40), (20, 40, 220)


def save(path, mode="RGB", size=(20, 10), color=RED, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)
    return path


def save_halves(path, **options):
    """A 40 x 20 image, red left and blue right."""
    picture = Image.new("RGB", (40, 20), RED)
    picture.paste(BLUE, (20, 0, 40, 20))
    picture.save(path, **options)


def near(color, other):
    return np.abs(np.subtract(color, other)).max() <= 6


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize("content", [HEIC, HEIC.replace(b"ftypheic", b"ftypmif1")])
def test_an_image_of_a_phone_is_one_by_its_header(content):
    with pytest.raises(BrokenImage, match=r"a HEIF image that cannot be read \(supported: JPEG"):
        measure(content)
    with pytest.raises(BadImage) as error:
        measure(content.replace(b"ftyp", b"moov"))
    assert not isinstance(error.value, BrokenImage)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"<html>not found</html>", "not an image"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not an image|damaged header"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, reason):
    (tmp_path / "x.jpg").write_bytes(content)
    for source in (tmp_path / "x.jpg", content):
        with pytest.raises(BadImage, match=reason):
            open_rgb(source)
        with pytest.raises(BadImage, match=reason):
            measure(source)


def test_900_million_pixels_are_refused_by_the_header(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(png_header(30_000, 30_000))
    with pytest.raises(BadImage, match=r"too many pixels.*900000000"):
        measure(tmp_path / "x.png")
    for limit in (Image.MAX_IMAGE_PIXELS, None):  # Pillow's limit, then our own
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(BadImage, match=r"too many pixels.*900000000"):
            open_rgb(tmp_path / "x.png")


def test_limit_of_pixels(tmp_path):
    path = save(tmp_path / "x.png")
    assert open_rgb(path, max_pixels=200).size == (20, 10)
    with pytest.raises(BadImage, match="too many pixels: 200 exceed the limit of 199"):
        open_rgb(path, max_pixels=199)


def test_bomb_is_refused(tmp_path, monkeypatch):
    save(tmp_path / "bomb.png", size=(300, 300))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    with pytest.raises(BadImage, match="too many pixels"):
        measure(tmp_path / "bomb.png")
    with pytest.raises(BadImage, match="too many pixels"):
        open_rgb(tmp_path / "bomb.png")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "1"])
def test_open_rgb_converts_modes(tmp_path, mode):
    color = {"RGB": RED, "L": 90, "CMYK": (0, 255, 255, 0), "1": 1}[mode]
    expected = {"RGB": RED, "L": (90,) * 3, "CMYK": (255, 0, 0), "1": (255,) * 3}[mode]
    path = save(tmp_path / ("x.png" if mode == "1" else "x.jpg"), mode, color=color)
    picture = open_rgb(path)
    assert picture.mode == "RGB"
    assert near(picture.getpixel((3, 3)), expected)


def test_open_rgb_drops_alpha_of_rgba_grey_and_palette(tmp_path):
    save(tmp_path / "rgba.png", "RGBA", color=(*RED, 0))
    save(tmp_path / "la.png", "LA", color=(90, 0))
    palette = Image.new("P", (20, 10), 1)
    palette.putpalette([0, 0, 0, *RED])
    palette.save(tmp_path / "p.png", transparency=b"\xff\x00")
    assert open_rgb(tmp_path / "rgba.png").getpixel((0, 0)) == RED
    assert open_rgb(tmp_path / "la.png").getpixel((0, 0)) == (90, 90, 90)
    assert open_rgb(tmp_path / "p.png").getpixel((0, 0)) == RED


def test_palette_is_converted_before_a_resize_can_be(tmp_path):
    palette = Image.new("P", (20, 10), 0)
    palette.putpalette([*RED, *BLUE])
    palette.paste(1, (10, 0, 20, 10))
    palette.save(tmp_path / "p.png")
    mixed = open_rgb(tmp_path / "p.png").resize((1, 1), Image.Resampling.BILINEAR)
    assert near(mixed.getpixel((0, 0)), np.add(RED, BLUE) // 2)


def test_open_rgb_scales_16_bit_and_refuses_floats(tmp_path):
    grey = np.array([[0, 0x80FF], [0xFFFF, 0x0100]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    (tmp_path / "grey.pgm").write_bytes(b"P5\n2 2\n65535\n" + grey.astype(">u2").tobytes())
    for name in ("grey.png", "grey.pgm"):
        pixels = np.asarray(open_rgb(tmp_path / name))
        assert pixels[..., 0].tolist() == [[0, 0x80], [0xFF, 1]]
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(BadImage, match="floating-point"):
        open_rgb(tmp_path / "float.tif")
    Image.fromarray(grey.astype(np.int32) * 100).save(tmp_path / "int.tif")
    with pytest.raises(BadImage, match="32-bit"):
        open_rgb(tmp_path / "int.tif")


def test_open_rgb_applies_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be turned clockwise
    save_halves(tmp_path / "x.jpg", quality=95, exif=exif)
    picture = open_rgb((tmp_path / "x.jpg").read_bytes())
    assert picture.tobytes() == open_rgb(tmp_path / "x.jpg").tobytes()
    assert picture.size == (20, 40)
    assert near(picture.getpixel((10, 5)), RED)
    assert near(picture.getpixel((10, 35)), BLUE)
    assert measure(tmp_path / "x.jpg")[1] == 40


def test_damaged_exif_does_not_cost_the_image(tmp_path):
    save_halves(tmp_path / "x.jpg", quality=95, exif=b"Exif\x00\x00 garbage instead of a header")
    assert open_rgb(tmp_path / "x.jpg").size == (40, 20)


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp"])
def test_truncated_images_raise(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    for source in (tmp_path / name, content[: len(content) // 2]):
        with pytest.raises(BadImage, match=r"cannot be decoded|damaged|not an image"):
            open_rgb(source)


def test_a_missing_file_has_a_reason(tmp_path):
    with pytest.raises(BadImage, match="FileNotFoundError: No such file"):
        open_rgb(tmp_path / "gone.jpg")


def failing(position, error):
    """A class of files whose reads fail from a position on, as those of a disk do."""

    class Disk(io.FileIO):
        def readinto(self, buffer):
            if self.tell() >= position:
                raise error
            return super().readinto(memoryview(buffer)[: position - self.tell()])

        def readall(self):
            raise error

    return type("Failing", (decode._File, Disk), {})


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("position", [0, 1, 20, 150])
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_a_disk_or_memory_that_fails_is_no_fault_of_the_image(
    tmp_path, monkeypatch, kind, position, error, why
):
    path = tmp_path / "a.jpg"
    path.write_bytes(picture(0, kind))
    monkeypatch.setattr(decode, "_File", failing(position, error))
    for function in (measure, open_rgb):
        with pytest.raises(InputError, match=rf"a.jpg cannot be read now \({why}\): run again"):
            function(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("number", [errno.EINVAL, None])
def test_errors_of_a_damaged_file_stay_reasons(tmp_path, monkeypatch, kind, number):
    path = tmp_path / "a.jpg"
    path.write_bytes(picture(0, kind))
    error = OSError(number, "Invalid argument") if number else OSError("broken data stream")
    monkeypatch.setattr(decode, "_File", failing(20, error))
    for function in (measure, open_rgb):
        with pytest.raises(BadImage):
            function(path)


def test_a_disk_that_truly_fails():
    assert Path("/proc/self/mem").is_file()  # its first page cannot be read
    for function in (measure, open_rgb):
        with pytest.raises(InputError, match=r"/proc/self/mem cannot be read now \(Input/output"):
            function("/proc/self/mem")


def test_too_many_open_files_are_no_fault_of_the_image(tmp_path):
    path, (soft, hard) = save(tmp_path / "a.png"), resource.getrlimit(resource.RLIMIT_NOFILE)
    for function in (measure, open_rgb):
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(InputError) as error:
                function(path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert f"{path} cannot be read now (Too many open files): run again" in str(error.value)
        function(path)


def test_what_is_wrong_with_the_file_itself_stays_a_reason(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    save(tmp_path / "file.png")
    for name in ("folder.png", "circle.png", "gone.png", "file.png/a.png", f"{'x' * 300}.png"):
        for function in (measure, open_rgb):
            with pytest.raises(BadImage, match=r"cannot be (read|decoded)"):
                function(tmp_path / name)


def test_an_image_is_not_left_lying_for_lack_of_memory(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    save_halves(tmp_path / "x.jpg", exif=exif)

    def refuse(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(decode.ImageOps, "exif_transpose", refuse)
    content = (tmp_path / "x.jpg").read_bytes()
    with pytest.raises(InputError, match=rf"an image of {len(content):,} bytes cannot be read now"):
        open_rgb(content)


def test_progressive_jpeg(tmp_path):
    save_halves(tmp_path / "x.jpg", quality=95, progressive=True)
    assert Image.open(tmp_path / "x.jpg").info["progressive"]
    picture = open_rgb(tmp_path / "x.jpg")
    assert near(picture.getpixel((5, 10)), RED)
    assert near(picture.getpixel((35, 10)), BLUE)
    content = (tmp_path / "x.jpg").read_bytes()
    with pytest.raises(BadImage, match="cannot be decoded"):
        open_rgb(content[:-60])


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, BLUE)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert near(open_rgb(tmp_path / "x.gif").getpixel((0, 0)), RED)


def test_pixels_are_pillows_own_from_a_path_and_from_bytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    for name, mode in [("a.jpg", "RGB"), ("b.jpg", "CMYK"), ("c.png", "L"), ("d.png", "RGBA")]:
        Image.fromarray(noise).convert(mode).save(tmp_path / name)
        expected = Image.open(tmp_path / name).convert("RGB")
        for source in (tmp_path / name, str(tmp_path / name), (tmp_path / name).read_bytes()):
            picture = open_rgb(source)
            assert (picture.mode, picture.size) == ("RGB", (40, 30))
            assert picture.tobytes() == expected.tobytes()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_of_fewer_bits_than_its_format_is_not_dark(tmp_path, bits):
    ramp = np.arange(1 << bits, dtype=np.uint16)[None]
    Image.fromarray(ramp).save(tmp_path / "ramp.tif")
    pixels = np.asarray(open_rgb(tmp_path / "ramp.tif"))
    expected = np.repeat(np.arange(256), 1 << (bits - 8))
    assert (pixels[0] == expected[:, None]).all()
