"""Image files: size and hash by their header and content, and decoding to RGB."""

import hashlib
import io

import numpy as np
from PIL import Image, ImageOps

from workflow_scripts.lib.errors import InputError, check_lasting

# Raster formats only: others that Pillow knows start external programs (EPS) or are not photos.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
MAX_PIXELS = 178_956_970  # where Pillow refuses by default: 512 MiB of RGB
EXTENSIONS = {ext for ext, name in Image.registered_extensions().items() if name in FORMATS}
# Images that we do not read: of phones, cameras (raw), programs. Vector graphics are no photos.
UNREAD = {
    *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".wdp"),
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2"),
    *(".raf", ".pef", ".srw", ".x3f", ".3fr", ".fff", ".iiq", ".mrw", ".dcr", ".kdc", ".erf"),
    *(".mef", ".mos", ".rwl"),
    *(".tga", ".ico", ".icns", ".psd", ".psb", ".xcf", ".pcx", ".dds", ".exr", ".hdr", ".qoi"),
    *(".sgi", ".rgb", ".ras"),
}
HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"}

Image.init()  # loads all format plugins now: doing so lazily is not thread-safe


class BadImage(ValueError):
    """A file that cannot be used as an image; the message is the reason for the quarantine."""


class BrokenImage(BadImage):
    """What cannot be used, though it was meant to be images: by its header, or as a folder."""


class _File(io.FileIO):
    """A file that raises InputError as `check_lasting` does: of some formats, Pillow takes an
    OSError for damage and goes on."""

    def readinto(self, buffer):
        return self._checked(super().readinto, buffer)

    def readall(self):
        return self._checked(super().readall)

    def _checked(self, read, *arguments):
        try:
            return read(*arguments)
        except (OSError, MemoryError) as error:
            check_lasting(error, self.name)
            raise


def measure(source):
    """Size (bytes), width and height as stored (pixels, before any EXIF rotation) and SHA-256 (hex
    digits) of an image: a path or the bytes of a file.

    Raises BadImage if it is no image, and InputError as `check_lasting` does; pixels are not
    decoded.
    """
    try:
        with _binary(source) as content:
            with _open(content, source) as image:
                width, height = image.size
            size = content.seek(0, io.SEEK_END)
            content.seek(0)
            return size, width, height, hashlib.file_digest(content, "sha256").hexdigest()
    except (OSError, MemoryError) as error:
        check_lasting(error, _named(source))
        raise BadImage(f"cannot be read: {error.strerror}") from error


def _open(content, source):
    """Open an image's header from a binary file, that of `source`. Raises as `measure` does."""
    if not content.read(1):
        raise BadImage("empty file (zero bytes)")
    content.seek(0)
    try:
        return Image.open(content, formats=FORMATS)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise BrokenImage(f"too many pixels: {error}") from error
    except Image.UnidentifiedImageError as error:
        content.seek(0)
        head = content.read(12)
        supported = f"(supported: {', '.join(FORMATS)})"
        if head[4:8] == b"ftyp" and head[8:] in HEIF:
            raise BrokenImage(f"a HEIF image that cannot be read {supported}") from error
        raise BadImage(f"not an image {supported}") from error
    except Exception as error:  # format plugins raise many kinds of errors on damaged headers
        check_lasting(error, _named(source))
        raise BrokenImage(f"damaged header: {type(error).__name__}: {error}") from error


def open_rgb(source, max_pixels=MAX_PIXELS):
    """Decode an image fully and return it as an upright RGB `PIL.Image`.

    source: a path, or the bytes of an image file.
    max_pixels: images of more pixels are refused by their header, before any pixel is decoded.
        Above 178,956,970 Pillow's own limit refuses them too.

    EXIF orientation is applied. Palette images are converted before any resize. Alpha is dropped,
    not blended, as open_clip does in its own preprocessing. 16-bit grey keeps the 8 highest bits of
    the depth that it uses (`_depth`). Of an animation, the first frame is taken.
    Raises BadImage if any part of the file is missing, damaged or too large, and InputError as
    `check_lasting` does.
    """
    try:
        with _binary(source) as content, _open(content, source) as image:
            _check_pixels(image.width * image.height, max_pixels)
            image.load()
            _turn_upright(image)
            return image if image.mode == "RGB" else _to_rgb(image)
    except (BadImage, InputError):
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"too many pixels: {error}") from error
    except Exception as error:  # decoders raise many kinds of errors on damaged content
        check_lasting(error, _named(source))
        reason = getattr(error, "strerror", None) or error
        raise BadImage(f"cannot be decoded: {type(error).__name__}: {reason}") from error


def _binary(source):
    return io.BytesIO(source) if _is_content(source) else io.BufferedReader(_File(source))


def _named(source):
    """What a message calls a path, or the bytes of a file."""
    return f"an image of {len(source):,} bytes" if _is_content(source) else source


def _is_content(source):
    return isinstance(source, (bytes, bytearray, memoryview))


def _check_pixels(pixels, limit):
    if pixels > limit:
        raise BadImage(f"too many pixels: {pixels} exceed the limit of {limit}")


def _turn_upright(image):
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # a damaged EXIF block says nothing about the pixels
        pass


def _to_rgb(image):
    if image.mode == "F":
        raise BadImage("floating-point pixels: convert the image to 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise BadImage("32-bit pixels: convert the image to 8 or 16 bits")
        image = Image.fromarray((values >> (_depth(values.max()) - 8)).astype(np.uint8))
    elif image.mode == "P":
        image = image.convert("RGBA")  # resolves transparency given as bytes
    return image.convert("RGB")


def _depth(brightest):
    """Bits per pixel of 16-bit grey: the least usual depth that holds its brightest pixel.

    Microscopes and X-ray store 10 to 14 bits in 16, mostly without a tag that says so; the highest
    byte of these would be almost black (our choice; an image that is dark in all its 16 bits
    becomes brighter).
    """
    return next(bits for bits in (8, 10, 12, 14, 16) if brightest < 1 << bits)
