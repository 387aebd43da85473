"""Sprites: every image is where its position says."""

import base64
import io
import re

import numpy as np
from PIL import Image

from workflow_scripts.lib.explore.sprites import COLUMNS, Sprite

TILE = 16


def test_every_image_is_at_its_position():
    rng = np.random.default_rng(0)
    colours = {f"{i}.jpg": tuple(map(int, rng.integers(0, 256, 3))) for i in range(COLUMNS + 3)}
    images = {name: Image.new("RGB", (TILE, TILE), colour) for name, colour in colours.items()}
    sprite = Sprite("own", TILE, {"gone.jpg": None} | images)
    sheet = decoded(sprite)
    assert sheet.size == (COLUMNS * TILE, 2 * TILE)
    for name, colour in colours.items():
        left, top = (-int(value) for value in re.findall(r"(-\d+)px", sprite.position(name)))
        middle = sheet.getpixel((left + TILE // 2, top + TILE // 2))
        assert np.abs(np.subtract(middle[:3], colour)).max() < 40, name  # WebP is lossy
    assert sprite.position("gone.jpg") is None


def test_what_is_beside_an_image_that_is_not_square_is_transparent():
    sheet = decoded(Sprite("own", TILE, {"a": Image.new("RGB", (TILE, TILE // 2), "red")}))
    alpha = np.asarray(sheet.getchannel("A"))
    assert (alpha[:3] == 0).all() and (alpha[-3:] == 0).all()
    assert alpha[TILE // 2, TILE // 2] == 255


def test_without_images_there_is_no_sprite():
    sprite = Sprite("own", TILE, {"gone.jpg": None})
    assert sprite.address() is None and sprite.position("unknown") is None


def decoded(sprite):
    content = sprite.address().removeprefix("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA")
