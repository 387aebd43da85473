"""A stored detector whose files were edited is refused with the key that is wrong."""

import json

import numpy as np
import pytest
from inputs.configs import META

from workflow_scripts.lib.detection.bundle import write_detector
from workflow_scripts.lib.detection.stored import load_detector
from workflow_scripts.lib.errors import InputError

ROWS = np.eye(4, dtype=np.float32)
ARRAYS = {"positives": ROWS[:2], "calibration.mcm": np.linspace(0, 1, 30, dtype=np.float32)}


def written(folder, meta=META, arrays=ARRAYS):
    write_detector(folder / "detector.json", folder / "detector.safetensors", meta, arrays)
    return folder


def test_the_detector_as_it_is(tmp_path):
    detector = load_detector(written(tmp_path))
    assert list(detector.rank(["x", "y"], ROWS[:2])["image_id"]) in (["x", "y"], ["y", "x"])


@pytest.mark.parametrize("value", [[], {}, 3, [None], {"a": None}, True, float("nan")])
@pytest.mark.parametrize("key", [*META, "arrays", "format"])
def test_a_value_of_another_kind_is_named(tmp_path, key, value):
    if (key, str(value)) in {("negatives", "{}"), ("left_out", "{}"), ("format", "True")}:
        return
    path = written(tmp_path) / "detector.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value, "crc32": None}))
    with pytest.raises(InputError, match=r"detector\.json") as error:
        load_detector(tmp_path).score(ROWS)
    assert key in str(error.value)


@pytest.mark.parametrize(
    ("name", "array"),
    [("positives", ROWS[:3]), ("positives", ROWS[0]), ("positives", ROWS[:2] * np.nan),
     ("calibration.mcm", ROWS[0, :0])],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_named(tmp_path, name, array):
    with pytest.raises(InputError, match=rf"detector\.safetensors does not fit .*{name}"):
        load_detector(written(tmp_path, arrays=ARRAYS | {name: array}))


def test_every_flipped_bit_of_the_description_is_noticed(tmp_path):
    """It may be another number or name. The block of the encoder may be edited."""
    path = written(tmp_path) / "detector.json"
    content, expected = path.read_bytes(), json.loads(path.read_bytes())
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            found = load_detector(tmp_path).meta
        except InputError as error:
            assert "detector.json" in str(error)
        else:
            found.setdefault("crc32", expected["crc32"])  # its name was hit
            found["encoder"]["block"] = expected["encoder"]["block"]
            assert {key: found[key] for key in expected} == expected, at


def test_a_description_that_is_nested_too_deeply_is_refused(tmp_path):
    (written(tmp_path) / "detector.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="no stored detector that can be read"):
        load_detector(tmp_path)
