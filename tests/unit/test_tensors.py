"""Weights and states: written as plain safetensors, and refused when a bit of them is another."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tensors import Damaged, checked_tensors, read_tensors, write_tensors

ARRAYS = {
    "centroids": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
    "sizes": np.array([2, 1], np.int32),
    "step": np.array(7.0),
    "none": np.empty((0, 4), np.float32),
}


def same(found):
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "results/clusters/clip/photos/kmeans/seed0.safetensors"
    write_tensors(path, ARRAYS, {"run": "a"})
    return path


def test_any_reader_of_safetensors_opens_it(path):
    same(load_file(path))
    same(read_tensors(path))
    assert checked_tensors(path)[1] == {"run": "a"}


def test_equal_arrays_give_equal_bytes_in_any_order_and_layout(path):
    before = path.read_bytes()
    arrays = dict(reversed(ARRAYS.items())) | {"centroids": np.asfortranarray(ARRAYS["centroids"])}
    write_tensors(path, arrays, {"run": "a"})
    assert path.read_bytes() == before


def test_every_flipped_bit_is_noticed(path):
    """A bit of each byte, but for the blanks that end the header, which say nothing."""
    content, unnoticed = path.read_bytes(), set()
    end = 8 + int.from_bytes(content[:8], "little")
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            same(read_tensors(path))
            unnoticed.add(at)
        except InputError as error:
            assert str(path) in str(error) and "delete it and run again" in str(error)
    assert all(content[at] == ord(" ") and at < end for at in unnoticed), sorted(unnoticed)


def test_a_file_of_another_place_or_hand_is_refused(path):
    other = path.with_name("seed1.safetensors")
    shutil.copy(path, other)
    with pytest.raises(InputError, match=r"seed1.safetensors was written as clusters/.*/seed0"):
        read_tensors(other)
    save_file(ARRAYS, other)
    with pytest.raises(InputError, match=r"seed1.safetensors is not a readable .*run again"):
        read_tensors(other)
    other.unlink()
    with pytest.raises(Damaged, match="No such file"):
        checked_tensors(other)
