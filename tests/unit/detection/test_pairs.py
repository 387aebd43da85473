"""Detectors with a memory: every pair of in-distribution and OOD set in a stream of its own."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from workflow_scripts.evaluate_ood import evaluate_ood
from workflow_scripts.lib.artifacts import read_meta, read_table, write_array, write_table
from workflow_scripts.lib.config.queries import scored_pairs
from workflow_scripts.lib.detection.adaptive import adaneg
from workflow_scripts.lib.embeddings import IMAGE_INDEX, UnitRows
from workflow_scripts.score_images import score_images

SIZES = {"test": 30, "a": 20, "b": 25, "blur": 15}
STUDY = {"test": "test", "near": ["a"], "far": ["b"], "shift": ["blur"]}
ADANEG = {"temperature": 0.3, "groups": 2}
PAIRS = [("test", "a"), ("test", "b"), ("blur", "a"), ("blur", "b"), ("(all)", "a"), ("(all)", "b")]


def test_pairs_of_a_study():
    sets = {"test": ["test"], "blur": ["blur"], "(all)": ["test", "blur"]}
    assert scored_pairs(STUDY) == [[one, other, sets[one]] for one, other in PAIRS]
    clean = [["test", "a", ["test"]], ["test", "b", ["test"]]]
    assert scored_pairs(STUDY | {"shift": []}) == clean


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The score file of a study with adaneg and mcm, and the rows of its sets."""
    return score(tmp_path_factory.mktemp("scored"), ADANEG)


def score(folder, parameters):
    """As `scored`, with these parameters of adaneg."""
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(10, 6))
    write_array(folder / "words.npy", texts.astype(np.float16))
    meta = {"encoder": {"model": "m"}}
    names = [f"word {i}" for i in range(10)]
    write_table(folder / "words.parquet", {"concept": names, "pos": ["noun"] * 10}, meta)
    positives = {"concept": names[:3], "concept_id": pa.array(range(3), pa.int32())}
    write_table(folder / "positives.parquet", positives, {"method": "x", "n_positives": 3})
    negatives = {"negatives": ["n"] * 7, "corpus": ["words"] * 7, "concept": names[3:]}
    ids = pa.array(range(3, 10), pa.int32())
    write_table(folder / "negatives.parquet", negatives | {"concept_id": ids})
    images = {}
    for name, size in SIZES.items():
        near = texts[:3] if name in ("test", "blur") else texts[3:]
        images[name] = near[rng.integers(len(near), size=size)] + rng.normal(size=(size, 6))
        write_array(folder / f"{name}.npy", images[name].astype(np.float16))
        image_ids = [f"{name}{i}" for i in range(size)]
        columns = [image_ids, [None] * size, [None] * size]
        write_table(folder / f"{name}.parquet", pa.table(columns, schema=IMAGE_INDEX), meta)
    inputs = SimpleNamespace(
        texts=[folder / "words.npy"], concepts=[folder / "words.parquet"],
        positives=folder / "positives.parquet", negatives=folder / "negatives.parquet",
    )  # fmt: skip
    cfg = {
        "image_sets": dict.fromkeys(SIZES, 1), "corpora": ["words"], "trained_on": [],
        "detectors": {"ada": {"method": "adaneg"} | parameters, "mcm": {"method": "mcm"}},
        "pairs": scored_pairs(STUDY),
    }  # fmt: skip
    keys = {"study": "s", "encoder": "e", "clustering": "k", "mining": "m", "seed": 0}
    score_images(
        [folder / f"{name}.npy" for name in SIZES], [folder / f"{name}.parquet" for name in SIZES],
        inputs, cfg, keys, folder / "scores.parquet",
    )  # fmt: skip
    starts = np.cumsum([0, *SIZES.values()])
    rows = {name: np.arange(*starts[i : i + 2]) for i, name in enumerate(SIZES)}
    rows["(all)"] = np.concatenate([rows["test"], rows["blur"]])
    units = {name: UnitRows(array.astype(np.float16))[:] for name, array in images.items()}
    return SimpleNamespace(
        file=folder / "scores.parquet", rows=rows, folder=folder,
        images=np.concatenate(list(units.values())),
        texts=UnitRows(texts.astype(np.float16))[:],
    )  # fmt: skip


def alone(scored, pair):
    """AdaNeg on the images of a pair by themselves, in the order that its stream is documented."""
    rows = np.sort(np.concatenate([scored.rows[name] for name in pair]))
    order = np.random.default_rng(0).permutation(len(rows))
    x, positives, negatives = scored.images[rows[order]], scored.texts[:3], scored.texts[3:]
    scores = np.full(sum(SIZES.values()), np.nan)
    score = adaneg(positives, negatives, **ADANEG)
    scores[rows[order]] = score(x, x @ positives.T, x @ negatives.T)
    return scores


def test_the_columns_are_those_of_every_pair_alone(scored):
    table, meta = read_table(scored.file), read_meta(scored.file)
    assert set(meta["columns"]) == {"mcm", "ada:n"}  # one score per image, for lists
    assert meta["pairs"] == [["ada:n", one, other] for one, other in PAIRS]
    assert table["ada:n"].null_count == 0
    for pair in PAIRS:
        found = table[":".join(["ada:n", *pair])]
        np.testing.assert_allclose(found.to_numpy(), alone(scored, pair), atol=1e-5)
        inside = sum(len(scored.rows[name]) for name in pair)
        assert found.null_count == len(table) - inside
    joint, paired = (table[name].to_numpy() for name in ("ada:n", "ada:n:test:a"))
    test = scored.rows["test"]
    assert not np.allclose(joint[test], paired[test], atol=1e-3)


def test_more_groups_than_negatives_are_a_missing_value(tmp_path):
    file = score(tmp_path, ADANEG | {"groups": 8}).file
    table, meta = read_table(file), read_meta(file)
    assert set(meta["columns"]) == {"mcm"} and meta["pairs"] == []
    assert [name for name in table.column_names if name.startswith("ada")] == []
    (cell,) = meta["missing"]
    assert (cell["detector"], cell["negatives"]) == ("ada", "n")
    assert "7 negatives for 8 groups" in cell["reason"]


def test_tables_take_the_scores_of_the_pair_and_have_no_intervals(scored):
    unflagged = np.arange(SIZES["a"]) % 3 > 0
    flags = {name: np.zeros(SIZES[name], bool) for name in ("test", "a", "b")}
    flags["a"] = ~unflagged
    parts = [
        pd.DataFrame({"image_set": name, "image_id": f"{name}", "flagged": flag})
        for name, flag in flags.items()
    ]
    for part in parts:
        part["image_id"] += [str(i) for i in range(len(part))]
    pd.concat(parts).to_parquet(scored.folder / "flags.parquet")
    cfg = STUDY | {"resamples": 20, "reference": "m", "groups": {}, "label_names": []}
    cfg |= {"ood_parts": {}}
    inputs = SimpleNamespace(
        scores=[scored.file],
        flags=scored.folder / "flags.parquet",
        **dict.fromkeys(("groups", "negatives", "ood_index", "label_names", "trees"), ()),
    )
    outputs = scored.folder / "ood.parquet", scored.folder / "comparison.parquet"
    evaluate_ood(inputs, cfg, *outputs)
    ood, comparison = (pd.read_parquet(path) for path in outputs)
    ada = ood[ood["detector"] == "ada"]

    def expected(pair, kept=None):
        scores = alone(scored, pair)
        one, other = (scores[scored.rows[name]] for name in pair)
        other = other if kept is None else other[kept]
        labels = np.repeat([1, 0], [len(one), len(other)])
        return roc_auc_score(labels, np.concatenate([one, other]))

    single = ada[(ada["ood_set"] != "(mean)") & (ada["images"] == "all")]
    assert set(zip(single["id_set"], single["ood_set"], strict=True)) == set(PAIRS)
    for row in single.itertuples():
        assert row.auroc == pytest.approx(expected((row.id_set, row.ood_set)), abs=1e-6)
        assert (row.n_id, row.n_ood) == (len(scored.rows[row.id_set]), SIZES[row.ood_set])
    row = ada[(ada["images"] == "unflagged") & (ada["ood_set"] == "a")].iloc[0]
    assert row["auroc"] == pytest.approx(expected(("test", "a"), unflagged), abs=1e-6)
    mean = ada[(ada["group"] == "all") & (ada["ood_set"] == "(mean)")].iloc[0]
    both = [expected(("test", "a")), expected(("test", "b"))]
    assert mean["auroc"] == pytest.approx(np.mean(both), abs=1e-6)
    assert (mean["n_id"], mean["n_ood"]) == (30, 45)

    empty = ["auroc_low", "auroc_high", "fpr95_low", "fpr95_high", "p_value"]
    assert ada[empty].isna().all(axis=None)
    assert ood.loc[ood["detector"] == "mcm", empty].notna().all(axis=None)
    limits = ["auroc_low", "auroc_high", "difference_low", "difference_high", "p_value"]
    assert comparison.loc[comparison["detector"] == "ada", limits].isna().all(axis=None)
    assert comparison.loc[comparison["detector"] == "mcm", limits].notna().all(axis=None)
