"""A block that finds no negative: `mine_negatives` records it; scores with it are missing."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.concepts.models import AnyNegatives
from workflow_scripts.lib.detection.detectors import possible
from workflow_scripts.mine_negatives import mine_negatives

DETECTORS = {"mcm": {"method": "mcm"}, "grouped": {"method": "neglabel", "groups": 2}}


@pytest.fixture
def mined(tmp_path):
    """Metadata and rows of a file of negatives: every cosine is above the limit of `none_left`."""
    names = ["cat", "dog", "sky", "sea"]
    vectors = np.ones((4, 2), np.float16) / np.float16(2**0.5)
    np.save(tmp_path / "texts.npy", vectors)
    write_table(tmp_path / "texts.parquet", {"concept": names, "pos": ["noun"] * 4})
    write_table(tmp_path / "positives.parquet", {"concept": ["cat"], "concept_id": [0]})
    blocks = {"none_left": {"method": "rest", "limit": 0.5}, "all": {"method": "rest"}}
    blocks = TypeAdapter(dict[str, AnyNegatives]).validate_python(blocks)
    resolved = {name: block.model_dump() for name, block in blocks.items()}
    cfg = {"corpora": ["words"], "negatives": resolved}
    inputs = SimpleNamespace(
        positives=tmp_path / "positives.parquet",
        texts=[tmp_path / "texts.npy"],
        concepts=[tmp_path / "texts.parquet"],
        **dict.fromkeys(("trees", "given", "train", "train_index"), ()),
    )
    mine_negatives(inputs, cfg, {"seed": 0}, tmp_path / "negatives.parquet")
    path = tmp_path / "negatives.parquet"
    return read_meta(path), pd.read_parquet(path)


def test_a_block_without_negatives_has_a_reason_and_the_others_their_rows(mined):
    meta, rows = mined
    assert rows["negatives"].unique().tolist() == ["all"]
    assert rows["concept"].tolist() == ["dog", "sky", "sea"]
    assert meta["missing"].keys() == {"none_left"}
    assert "no concept of the corpus is left as a negative" in meta["missing"]["none_left"]


def test_detectors_that_need_it_cannot_score(mined):
    unfound = mined[0]["missing"]
    kept, missing = possible(DETECTORS, {"all": np.ones((3, 2))}, unfound)
    assert kept == DETECTORS
    assert missing == {("grouped", "none_left"): unfound["none_left"]}
    kept, missing = possible(DETECTORS, {}, unfound)
    assert set(kept) == {"mcm"} and set(missing) == {("grouped", "none_left")}
    assert possible(DETECTORS, {"all": np.ones((3, 2))}, {}) == (DETECTORS, {})
