"""Archives and tables of several splits are never one image set by accident."""

import pytest
from image_files import make_tar, outcome, picture

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import open_container
from workflow_scripts.lib.images.splits import splits_of


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train-00000-of-00002.parquet", "test-00000-of-00001.parquet"], ["test", "train"]),
        (["data/train/0.tar", "data/val/0.tar", "data/valid_2/0.tar"], ["train", "validation"]),
        (["im-train-0000.tar", "im-train-0001.tar"], []),
        (["bullet_train.tar", "test_tube.tar", "fox.tar"], []),
        (["latest.tar", "trainer.tar"], []),
        ([], []),
    ],
)
def test_splits_are_told_if_every_name_tells_one(names, splits):
    assert splits_of(names) == splits


def test_a_pattern_chooses_the_files_of_one_split(tmp_path):
    for seed, name in enumerate(("im-train-0", "im-train-1", "im-val-0")):
        make_tar(tmp_path / f"{name}.tar", [(f"{seed}.png", picture(seed))])
    with pytest.raises(InputError, match=r"splits train and validation.*choose .* by `files`"):
        outcome(open_container("tar", tmp_path))
    good, _ = outcome(open_container("tar", tmp_path, files="*train*"))
    assert good == {f"{seed}.png": (None, picture(seed)) for seed in range(2)}
    with pytest.raises(InputError, match="none of 3 files matches files: 'test', the first is im-"):
        outcome(open_container("tar", tmp_path, files="test"))
