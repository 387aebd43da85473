"""Thumbnails inside a page: as WebP, one by one or as a sprite that is shown piece by piece."""

import base64
import io
from dataclasses import dataclass, field

from PIL import Image

QUALITY = 60  # of WebP; below, small pictures get blocks
COLUMNS = 20


def webp(image):
    """An image as a data: address of a WebP file."""
    content = io.BytesIO()
    image.save(content, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


@dataclass
class Sprite:
    """The thumbnails of one set of images. A page has it as a style, a tile as its position.

    name: a CSS class, letters and digits. tile: width and height of a tile, in pixels.
    thumbnails: image id -> RGB image, or None where it cannot be read; {} where there are none.
    """

    name: str
    tile: int
    thumbnails: dict
    _places: dict = field(init=False)

    def __post_init__(self):
        shown = [name for name, image in self.thumbnails.items() if image]
        self._places = {name: i for i, name in enumerate(shown)}

    def position(self, image_id):
        """Where an image is in the sprite, as a CSS `background-position`; None if it is not."""
        i = self._places.get(image_id)
        if i is None:
            return None
        return f"-{i % COLUMNS * self.tile}px -{i // COLUMNS * self.tile}px"

    def address(self):
        """The sprite as a data: address of a WebP image; None without thumbnails."""
        images = [self.thumbnails[name] for name in self._places]
        if not images:
            return None
        rows = -(-len(images) // COLUMNS)
        size = min(len(images), COLUMNS) * self.tile, rows * self.tile
        sheet = Image.new("RGBA", size)  # transparent beside images that are not square
        for i, image in enumerate(images):
            left = i % COLUMNS * self.tile + (self.tile - image.width) // 2
            top = i // COLUMNS * self.tile + (self.tile - image.height) // 2
            sheet.paste(image, (left, top))
        return webp(sheet)
