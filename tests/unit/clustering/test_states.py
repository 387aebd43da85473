"""States of unfinished trainings: used as they were written, or not at all."""

import numpy as np
import pytest

from workflow_scripts.lib.clustering.states import read_state, write_state

ARRAYS = {"centroids": np.arange(6, dtype=np.float32).reshape(2, 3), "length": np.array([3, 1])}


def test_a_state_is_that_of_its_run(tmp_path, caplog):
    write_state(tmp_path / "state", "run 1", ARRAYS)
    found = read_state(tmp_path / "state", "run 1", "k-means")
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        found[name][0] += 1  # what goes on changes it in place
    assert not caplog.records
    assert read_state(tmp_path / "state", "run 2", "k-means") == {}
    assert "k-means starts anew: other code, settings, seed or data" in caplog.text


@pytest.mark.parametrize("damage", [lambda c: c[:-1] + bytes([c[-1] ^ 1]), lambda c: c[:99]])
def test_a_damaged_state_is_not_gone_on_from(tmp_path, caplog, damage):
    path = tmp_path / "state"
    write_state(path, "run 1", ARRAYS)
    path.write_bytes(damage(path.read_bytes()))
    assert read_state(path, "run 1", "training") == {}
    assert f"ignoring {path}, training starts anew: it is " in caplog.text
