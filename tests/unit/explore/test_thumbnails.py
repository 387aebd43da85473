"""Which images of a map have a picture, and what it is."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.lib.explore.thumbnails import chosen_rows, thumbnail_of

NAN = float("nan")


def test_half_of_the_pictures_are_of_the_lowest_scores():
    scores = np.random.default_rng(0).permutation(1000).astype(float)
    scores[:400] = NAN
    rows = chosen_rows(scores, limit=100)
    assert len(rows) == len(set(rows.tolist())) == 100
    lowest = sorted(range(400, 1000), key=lambda row: scores[row])[:50]
    assert set(lowest) <= set(rows.tolist())
    assert 10 < np.isnan(scores[rows]).sum() < 40, "the others are of all images alike"
    np.testing.assert_array_equal(rows, chosen_rows(scores, limit=100))


@pytest.mark.parametrize("scores", [[NAN] * 30, [1.0] + [NAN] * 29, [2.0, 1.0, NAN]])
def test_as_many_have_a_picture_as_can(scores):
    assert len(chosen_rows(np.array(scores), limit=10)) == min(10, len(scores))


def test_a_thumbnail_is_a_small_webp_of_the_image(tmp_path):
    Image.new("RGB", (300, 100), (250, 10, 20)).save(tmp_path / "image.png")
    uri = thumbnail_of(lambda: tmp_path / "image.png")
    start, _, content = uri.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert (start, image.format, image.size) == ("data:image/webp;base64", "WEBP", (64, 21))
    assert np.abs(np.asarray(image.convert("RGB"), int) - [250, 10, 20]).max() < 12


def test_an_image_that_is_gone_has_none(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert thumbnail_of(lambda: tmp_path / "gone.png") == ""
    assert thumbnail_of(lambda: tmp_path / "broken.png") == ""
