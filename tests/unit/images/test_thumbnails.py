"""Thumbnails: images made small, None where there is none any more."""

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.images.thumbnails import thumbnails


@pytest.fixture
def found(tmp_path):
    """Thumbnails of 64 pixels of four files, one of them damaged and one gone."""
    Image.new("RGB", (300, 100), (250, 10, 20)).save(tmp_path / "wide.png")
    Image.new("L", (10, 20), 200).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    write_table(tmp_path / "locators.parquet", {"image_id": []}, {"archived": False})
    names = ["wide.png", "broken.png", "gone.png", "small.png", "wide.png"]
    return thumbnails(names, tmp_path, tmp_path / "locators.parquet", 64)


def test_the_longer_side_has_the_size(found):
    assert list(found) == ["wide.png", "broken.png", "gone.png", "small.png"]
    assert (found["wide.png"].size, found["small.png"].size) == ((64, 21), (32, 64))
    assert (np.asarray(found["wide.png"]) == [250, 10, 20]).all()
    assert found["small.png"].mode == "RGB"


def test_what_cannot_be_read_is_none(found):
    assert found["broken.png"] is None and found["gone.png"] is None
