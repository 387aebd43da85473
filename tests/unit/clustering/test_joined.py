"""Clusters of one encoder, joined by id with the images of another one."""

import logging

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.clustering.joined import clusters_of_images
from workflow_scripts.lib.errors import InputError


@pytest.fixture
def clusters(tmp_path):
    path = tmp_path / "seed0.parquet"
    columns = {"image_id": list("abcdef"), "cluster": np.array([0, 1, 2, 0, 1, 2], np.int32)}
    write_table(path, columns)
    return path


def test_the_order_of_the_images_does_not_matter(clusters, caplog):
    caplog.set_level(logging.INFO)
    found = clusters_of_images(clusters, pa.chunked_array([list("fe"), list("dcba")]))
    assert found.tolist() == [2, 1, 0, 2, 1, 0]
    assert found.dtype == np.int32
    assert not caplog.records


def test_images_that_one_side_lacks_are_counted(clusters, caplog):
    found = clusters_of_images(clusters, pa.array(["x", "c", "y", "a", "b"]))
    assert found.tolist() == [-1, 2, -1, 0, 1]
    assert "2 of 5 images have no cluster, 3 of 6 clustered images are left out" in caplog.text


@pytest.mark.parametrize("ids", [["a", "b"], ["a", "b", "c", *"uvwxyz"], []])
def test_more_than_half_of_the_images_missing_is_a_mistake(clusters, ids):
    with pytest.raises(InputError, match=r"seed0\.parquet clusters 6 images, and"):
        clusters_of_images(clusters, pa.array(ids, pa.string()))
