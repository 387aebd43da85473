"""How the demo world is drawn: shapes, colours, textures, clutter, and damage to finished images.

Needs numpy and Pillow only. Colours are RGB in 0..255. While it is drawn an image is float32
[3, 64, 64] (channels first is several times faster); it is stored as uint8 [64, 64, 3].
Noise, clutter, shades and occlusion make the world hard.
"""

import numpy as np
from PIL import Image, ImageFilter

SIZE = 64
# How hard the world is.
NOISE = (2.0, 7.0)  # sensor noise, standard deviation
RADIUS = (0.6, 0.88)  # of the object, in half image widths
PATCHES = (0, 2)  # clutter behind the object: none or one patch
OCCLUDED = 0.1  # share of objects with a twig in front

TEXTURES = ("solid", "striped", "checkered", "dotted")
COLOURS = {
    "red": (214, 40, 40),
    "orange": (244, 136, 14),
    "yellow": (246, 214, 50),
    "green": (56, 158, 60),
    "cyan": (52, 196, 214),
    "blue": (38, 84, 214),
    "purple": (124, 48, 176),
    "pink": (244, 136, 190),
}
# Shades look different and have words of their own; the plain colour word fits all of them.
SHADES = {
    "red": {"crimson": (162, 22, 52), "scarlet": (242, 62, 30)},
    "orange": {"tangerine": (252, 118, 44), "amber": (240, 164, 20)},
    "yellow": {"golden": (222, 182, 42), "lemon": (248, 240, 96)},
    "green": {"emerald": (22, 140, 92), "lime": (138, 200, 44)},
    "cyan": {"turquoise": (44, 202, 182), "teal": (22, 142, 148)},
    "blue": {"navy": (28, 42, 126), "azure": (52, 130, 240)},
    "purple": {"violet": (146, 72, 218), "plum": (112, 42, 112)},
    "pink": {"rose": (240, 100, 144), "salmon": (250, 158, 150)},
}

_axis = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1
X, Y = np.meshgrid(_axis, -_axis)  # pixel centres in [-1, 1], y upwards


# Shapes: f(x, y) < 0 inside; |f| is roughly the distance to the outline. Unit radius, y upwards.


def _box(x, y, half_width, half_height):
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


def _polygon(x, y, corners, apothem):
    angles = 2 * np.pi * (np.arange(corners) + 0.5) / corners + np.pi / 2
    sides = [np.float32(np.cos(a)) * x + np.float32(np.sin(a)) * y for a in angles]
    return np.maximum.reduce(sides) - apothem


def _star(x, y):
    sector = np.pi / 5
    angle = np.abs((np.arctan2(x, y) + sector) % (2 * sector) - sector)  # 0 at each tip
    r = np.hypot(x, y)
    return r * np.cos(angle) + 1.7 * r * np.sin(angle) - 0.98


def _heart(x, y):
    lobe = np.hypot(np.abs(x) - 0.42, y - 0.3) - 0.47
    tip = np.maximum(np.abs(x) * 0.75 - (y + 0.92) * 0.66, y - 0.3)
    return np.minimum(lobe, tip)


def _arrow(x, y):
    shaft = _box(x + 0.4, y, 0.55, 0.2)
    head = np.maximum(0.05 - x, 0.62 * (x - 0.95) + 0.78 * np.abs(y))
    return np.minimum(shaft, head)


def _flower(x, y):
    return (np.hypot(x, y) - 0.68 - 0.28 * np.cos(6 * np.arctan2(y, x))) * 0.6


def _gear(x, y):
    r = np.hypot(x, y)
    teeth = np.clip(3 * np.cos(9 * np.arctan2(y, x)), -1, 1)
    return np.maximum(r - 0.78 - 0.15 * teeth, 0.32 - r)


def _spiral(x, y):
    r = np.hypot(x, y)
    turn = (r * 2.5 - np.arctan2(y, x) / (2 * np.pi)) % 1
    return np.maximum((np.abs(turn - 0.5) - 0.27) / 2.5, r - 0.97)


def _bolt(x, y):
    upper = _box(x + 0.15 - 0.45 * y, y - 0.42, 0.27, 0.52)
    lower = np.maximum(np.abs(x - 0.15 - 0.45 * y) - 0.3 * (y + 1), y - 0.12)
    return np.minimum(upper, lower)


SHAPES = {
    "circle": lambda x, y: np.hypot(x, y) - 0.86,
    "square": lambda x, y: _box(x, y, 0.76, 0.76),
    "triangle": lambda x, y: _polygon(x, y, 3, 0.5),
    "star": _star,
    "cross": lambda x, y: np.minimum(_box(x, y, 0.3, 0.94), _box(x, y, 0.94, 0.3)),
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.74) - 0.2,
    "heart": _heart,
    "diamond": lambda x, y: (np.abs(x) / 0.62 + np.abs(y) - 1) * 0.53,
    "crescent": lambda x, y: np.maximum(np.hypot(x, y) - 0.94, 0.7 - np.hypot(x - 0.42, y)),
    "arrow": _arrow,
    "flower": _flower,
    "bar": lambda x, y: _box(x, y, 0.98, 0.28),
    "gear": _gear,
    "hourglass": lambda x, y: np.maximum(np.abs(y) - 0.88, np.abs(x) - 0.12 - 0.75 * np.abs(y)),
    "semicircle": lambda x, y: np.maximum(np.hypot(x, y + 0.35) - 0.95, -0.35 - y),
    "spiral": _spiral,
    "bolt": _bolt,
    "chevron": lambda x, y: np.maximum(
        np.abs(np.abs(x) * 0.9 + y - 0.35) * 0.74 - 0.22, np.abs(x) - 0.9
    ),
}


# Drawing one image


def pick_shade(colour, rng):
    """(word, RGB): the plain colour half of the time, else one of its two shades."""
    words = [colour, colour, *SHADES[colour]]
    word = words[rng.integers(4)]
    return word, SHADES[colour].get(word, COLOURS[colour])


def _cover(distance, radius):
    """Share of each pixel inside an outline, from distances in units of `radius`."""
    return np.clip(0.5 - distance * np.float32(radius * SIZE / 2), 0, 1)


def _rotated(x, y, angle):
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def _second_colour(texture, x, y, radius, rng):
    """Share of the texture's second colour at each pixel, float32 [64, 64]."""
    u, v = _rotated(x, y, rng.uniform(0, np.pi))
    frequency = rng.uniform(1.9, 2.4)
    u = u * np.float32(frequency) + np.float32(rng.uniform())
    v = v * np.float32(frequency) + np.float32(rng.uniform())
    scale = radius / frequency
    u_wave = np.abs(u - np.floor(u) - 0.5)  # 0 at the middle of a period, 0.5 at its ends
    if texture == "striped":
        return _cover(u_wave - 0.23, scale)
    v_wave = np.abs(v - np.floor(v) - 0.5)
    if texture == "checkered":
        a, b = _cover(u_wave - 0.25, scale), _cover(v_wave - 0.25, scale)
        return a + b - 2 * a * b
    return _cover(np.hypot(u_wave, v_wave) - 0.3, scale)


def _paint(rgb, texture, x, y, radius, rng):
    """A textured surface, float32 [3, 64, 64] (or [3, 1, 1] if solid)."""
    rgb = (np.asarray(rgb) + rng.normal(0, 8, 3)).astype(np.float32)[:, None, None]
    if texture == "solid":
        return rgb
    other = np.float32(rng.choice((35, 235)))
    return rgb + _second_colour(texture, x, y, radius, rng) * (other - rgb)


def _muted_colour(rng):
    return (rng.uniform(50, 205) + rng.normal(0, 14, 3)).astype(np.float32)[:, None, None]


def _background(rng):
    """A shaded backdrop with a few blurred-in patches as clutter, float32 [3, 64, 64]."""
    slope_x, slope_y = rng.normal(0, 16, 2).astype(np.float32)
    image = _muted_colour(rng) + (X * slope_x + Y * slope_y)
    for _ in range(rng.integers(*PATCHES)):
        x, y = _rotated(X - rng.uniform(-1, 1), Y - rng.uniform(-1, 1), rng.uniform(0, np.pi))
        width, height = rng.uniform(0.08, 0.5, 2).astype(np.float32)
        patch = _box(x, y, width, height) if rng.random() < 0.5 else np.hypot(x, y) - width
        image += _cover(patch, 1.0) * (_muted_colour(rng) - image)
    return image


def _photograph(image, rng):
    """Exposure, colour tint and sensor noise of one shot."""
    gain = rng.uniform(0.8, 1.15) * rng.normal(1, 0.03, 3)
    image = image * gain.astype(np.float32)[:, None, None]
    sigma = np.float32(rng.uniform(*NOISE))
    return image + sigma * rng.standard_normal((3, SIZE, SIZE), np.float32)


def draw_object(texture, rgb, shape, rng):
    """One object in a cluttered scene, float32 [3, 64, 64], values may leave 0..255."""
    image = _background(rng)
    radius = rng.uniform(*RADIUS)
    cx, cy = rng.uniform(radius - 1, 1 - radius, 2).astype(np.float32)
    x, y = _rotated((X - cx) / radius, (Y - cy) / radius, rng.uniform(-0.3, 0.3))
    x, y = x.astype(np.float32), y.astype(np.float32)
    cover = _cover(SHAPES[shape](x, y), radius)
    if rng.random() < OCCLUDED:  # a twig in front of the object
        u, _ = _rotated(x, y, rng.uniform(0, np.pi))
        cover = cover * (1 - _cover(np.abs(u - rng.uniform(-0.5, 0.5)) - 0.14, radius))
    surface = _paint(rgb, texture, x, y, radius, rng)
    return _photograph(image + cover * (surface - image), rng)


def draw_concept(concept, rng):
    """An object of a (texture, colour, shape) in a random shade of its colour."""
    texture, colour, shape = concept
    return draw_object(texture, pick_shade(colour, rng)[1], shape, rng)


def _draw_texture(rng):
    """A surface that fills the frame: stripes, squares or dots in a random shade."""
    texture = TEXTURES[rng.integers(1, len(TEXTURES))]
    _, rgb = pick_shade(list(COLOURS)[rng.integers(len(COLOURS))], rng)
    radius = rng.uniform(0.5, 1.0)
    return _photograph(_paint(rgb, texture, X / radius, Y / radius, radius, rng), rng)


def _draw_noise(rng):
    """Random coloured grains of 1 to 16 pixels."""
    grain = 2 ** rng.integers(5)
    cells = SIZE // grain
    colours = rng.uniform(0, 255, (3, 1, 1)) + rng.normal(0, 70, (3, cells, cells))
    return colours.astype(np.float32).repeat(grain, axis=1).repeat(grain, axis=2)


def _draw_gradient(rng):
    """A smooth change between two colours along a line or out of a point."""
    first, second = rng.uniform(0, 255, (2, 3, 1, 1)).astype(np.float32)
    if rng.random() < 0.5:
        u, _ = _rotated(X, Y, rng.uniform(0, 2 * np.pi))
        weight = (u + 1.4) / 2.8
    else:
        weight = np.hypot(X - rng.uniform(-1, 1), Y - rng.uniform(-1, 1)) / 2
    return _photograph(first + weight * (second - first), rng)


OBJECT_FREE = {"textures": _draw_texture, "noise": _draw_noise, "gradients": _draw_gradient}


# Covariate shift: what happens to an image after it was taken


def to_uint8(image):
    """Rounded and clipped to 0..255."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _blur(image, rng):
    return np.asarray(Image.fromarray(to_uint8(image)).filter(ImageFilter.GaussianBlur(1.3)))


def _add_noise(image, rng):
    return image + 20 * rng.standard_normal(image.shape, np.float32)


def _sketch(image, rng):
    """Dark outlines on pale, faintly coloured paper."""
    grey = _blur(image, rng).astype(np.float32).mean(-1)
    edges = np.abs(np.gradient(grey, axis=0)) + np.abs(np.gradient(grey, axis=1))
    return 150 + 0.4 * image - 5 * edges[..., None]


def _colour_cast(image, rng):
    return image * np.array([1.25, 0.95, 0.75], np.float32)


def _low_resolution(image, rng):
    small = Image.fromarray(to_uint8(image)).resize((26, 26), Image.Resampling.BOX)
    return np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


# f(image [64, 64, 3] with values 0..255, rng) -> the same, values may leave the range.
CORRUPTIONS = {
    "blur": _blur,
    "noise": _add_noise,
    "sketch": _sketch,
    "colour_cast": _colour_cast,
    "low_resolution": _low_resolution,
}
