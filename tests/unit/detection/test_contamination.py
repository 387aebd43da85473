from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workflow_scripts.flag_contamination import flag_contamination
from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.detection.contamination import flagged_by_label, flagged_by_match
from workflow_scripts.lib.errors import InputError

TRUE = [3, 5]
IDS = np.array([[3, 1, 2], [1, 3, 5], [5, 3, 1], [3, 5, 3], [0, 1, 2]], np.int32)
COSINES = np.array(
    [[0.30, 0.25, 0.2], [0.3, 0.29, 0.1], [0.3, 0.28, 0.2], [0.3, 0.29, 0.27], [0.3, 0.2, 0.1]],
    np.float32,
)


def test_flags_images_whose_best_concept_is_a_true_name():
    assert flagged_by_match(IDS, COSINES, TRUE).tolist() == [True, False, True, True, False]
    assert not flagged_by_match(IDS, COSINES, []).any()


def test_the_margin_is_over_the_best_other_concept():
    # Leads: .05 over concept 1; .1 over concept 1 (not .02 over the true name 3); at least .03.
    assert flagged_by_match(IDS, COSINES, TRUE, 0.02).tolist() == [True, False, True, True, False]
    assert flagged_by_match(IDS, COSINES, TRUE, 0.04).tolist() == [True, False, True, False, False]
    assert flagged_by_match(IDS, COSINES, TRUE, 0.08).tolist() == [False, False, True, False, False]


def test_matches_the_rule_over_the_whole_corpus():
    rng = np.random.default_rng(0)
    sims = rng.normal(size=(200, 12))
    order = np.argsort(-sims, axis=1)
    true = [1, 4, 7]
    others = [j for j in range(12) if j not in true]
    for margin in (0, 0.3, 1):
        expected = [row[true].max() - row[others].max() >= margin for row in sims]
        # With m = 4 of 12 and three true names there is always another concept among the m.
        ids = order[:, :4]
        cosines = np.take_along_axis(sims, ids, axis=1)
        assert flagged_by_match(ids, cosines, true, margin).tolist() == expected
    assert 0 < sum(expected) < 200


def test_the_best_concept_alone_proves_no_margin():
    assert flagged_by_match(IDS[:, :1], COSINES[:, :1], TRUE).sum() == 3
    assert not flagged_by_match(IDS[:, :1], COSINES[:, :1], TRUE, 0.01).any()


def test_refuses_bad_input():
    with pytest.raises(InputError, match="margin"):
        flagged_by_match(IDS, COSINES, TRUE, -0.1)
    with pytest.raises(InputError, match="similarity pass"):
        flagged_by_match(IDS, COSINES[:, :2], TRUE)


def test_flags_labels_that_are_true_names():
    labels = ["dog", "river", None, "puppy", "dog"]
    assert flagged_by_label(labels, ["dog", "cat"]).tolist() == [True, False, False, False, True]


def test_flags_synonyms_of_true_names():
    flagged = flagged_by_label(
        ["sofa", "river", None], ["couch"], {"sofa": {"couch"}, "river": {"stream"}}.get
    )
    assert flagged.tolist() == [True, False, False]


def test_an_unlabelled_set_is_not_flagged():
    flagged = flagged_by_label([None, None], ["dog"])
    assert flagged.dtype == bool
    assert not flagged.any()


# ---- the rule script -----------------------------------------------------------------------------

CONCEPTS = [f"concept {i}" for i in range(12)]
ENCODER = {"encoder": {"model": "m"}}


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def embed(path, vectors, labels, encoder=ENCODER):
    """Embeddings of images called x0, x1, ... of the file x, with their index."""
    np.save(f"{path}.npy", vectors)
    ids = [f"{path.name}{i}" for i in range(len(vectors))]
    columns = {"image_id": ids, "label": pa.array(labels, pa.string())}
    write_table(f"{path}.parquet", columns, encoder)


@pytest.fixture
def inputs(tmp_path):
    """Images of a test set in two shards and of an OOD set; concepts 1, 4 and 7 are true names."""
    rng = np.random.default_rng(0)
    texts = unit(rng.normal(size=(12, 8)))
    np.save(tmp_path / "texts.npy", texts)
    write_table(tmp_path / "texts.parquet", {"concept": CONCEPTS}, ENCODER)
    labels = ["Concept_1", "concept 4", None, "concept 7", "not in the corpus"]
    embed(tmp_path / "train", unit(rng.normal(size=(5, 8))), labels)
    embed(tmp_path / "first", unit(rng.normal(size=(30, 8))), ["concept 1"] * 30)
    embed(tmp_path / "second", unit(rng.normal(size=(20, 8))), ["concept 4"] * 20)
    labels = ["Concept_7", "concept 2", None, "sofa"] * 20
    embed(tmp_path / "far", unit(rng.normal(size=(80, 8))), labels)
    stems = [tmp_path / name for name in ("first", "second", "far")]
    return SimpleNamespace(
        embeddings=[f"{stem}.npy" for stem in stems],
        index=[f"{stem}.parquet" for stem in stems],
        texts=[tmp_path / "texts.npy"],
        concepts=[tmp_path / "texts.parquet"],
        train_index=[tmp_path / "train.parquet"],
        trees=[],
        label_names=[],
    )


def flag(inputs, **cfg):
    """The flags and the table that the script writes."""
    folder = inputs.texts[0].parent
    cfg = {"rule": "match", "margin": 0.0, "image_sets": {"test": 2, "far": 1}} | cfg
    cfg = {"label_names": [None] * 3} | cfg
    outputs = folder / "flags.parquet", folder / "table.parquet"
    flag_contamination(inputs, cfg | {"groups": {"test": "test", "far": "far"}}, "s", *outputs)
    return [pd.read_parquet(path) for path in outputs]


def cosines(inputs):
    images = np.concatenate([np.load(path) for path in inputs.embeddings]).astype(np.float32)
    texts = np.load(inputs.texts[0]).astype(np.float32)
    norms = [np.linalg.norm(rows, axis=1) for rows in (images, texts)]
    return images @ texts.T / np.outer(*norms)


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.3])
def test_script_applies_the_margin_over_the_whole_corpus(inputs, margin):
    flags, table = flag(inputs, margin=margin)
    sims, true = cosines(inputs), [1, 4, 7]
    others = [j for j in range(12) if j not in true]
    expected = sims[:, true].max(axis=1) - sims[:, others].max(axis=1) >= max(margin, 1e-9)
    assert flags["flagged"].tolist() == expected.tolist()
    assert flags["concept"].tolist() == [CONCEPTS[j] for j in sims.argmax(axis=1)]
    assert flags["image_set"].tolist() == ["test"] * 50 + ["far"] * 80
    names = [f"first{i}" for i in range(30)] + [f"second{i}" for i in range(20)]
    assert flags["image_id"].tolist() == names + [f"far{i}" for i in range(80)]
    assert table["group"].tolist() == ["test", "far"]
    assert table["n"].tolist() == [50, 80]
    assert table["flagged"].tolist() == [expected[:50].sum(), expected[50:].sum()]
    assert table["share"].tolist() == pytest.approx([expected[:50].mean(), expected[50:].mean()])
    assert (table["study"] == "s").all()
    assert 0 < expected.sum() < 130
    meta = read_meta(inputs.texts[0].parent / "flags.parquet")
    assert (meta["rule"], meta["margin"], meta["encoder"]) == ("match", margin, {"model": "m"})


def test_script_compares_normalised_labels(inputs, tmp_path):
    flags, table = flag(inputs, rule="label")
    assert table["share"].tolist() == [1, 0.25]
    assert set(flags.loc[flags["flagged"], "label"]) == {"concept 1", "concept 4", "Concept_7"}
    assert flags["concept"].notna().all()


def test_script_takes_synonyms_from_a_tree(inputs, tmp_path):
    (tmp_path / "data.noun").write_text("00000001 06 n 02 sofa 0 concept_7 0 000 | seat\n")
    entries = [f"{name} n 1 0 1 0 00000001\n" for name in ("sofa", "concept_7")]
    (tmp_path / "index.noun").write_text("".join(entries))
    for name in ("data.adj", "index.adj"):
        (tmp_path / name).write_text("")
    inputs.trees = [tmp_path / name for name in ("data.noun", "index.noun")]
    assert flag(inputs, rule="label")[1]["share"].tolist() == [1, 0.5]


def test_script_compares_names_of_labels(inputs, tmp_path):
    """The training images have ids of their own, the OOD set others, the test set names."""
    embed(tmp_path / "train", np.ones((3, 8), np.float16), ["n1", None, "n4"])
    embed(tmp_path / "far", np.load(tmp_path / "far.npy"), ["0", "1", None, "2"] * 20)
    (tmp_path / "train.csv").write_text("label,name\nn1,Concept_1\nn4,concept 4\n")
    (tmp_path / "far.csv").write_text("label,name\n0,concept 4\n1,concept 2\n2,sofa\n")
    inputs.label_names = [tmp_path / "train.csv", tmp_path / "far.csv"]
    options = {"label": "label", "name": "name", "coarse": False}
    flags, table = flag(inputs, rule="label", label_names=[options, None, options])
    assert table["share"].tolist() == [1, 0.25]
    assert set(flags.loc[flags["flagged"], "label"]) == {"concept 1", "concept 4", "0"}
    (tmp_path / "far.csv").write_text("label,name\n0,concept 4\n1,concept 2\n")
    with pytest.raises(InputError, match=r"far.csv has no name for the label '2'"):
        flag(inputs, rule="label", label_names=[options, None, options])


def test_nothing_is_flagged_without_labels(inputs, tmp_path, caplog):
    for rule in ("match", "label"):
        embed(tmp_path / "train", np.ones((2, 8), np.float16), [None, None])
        caplog.clear()
        flags, table = flag(inputs, rule=rule, margin=0.1)
        assert not flags["flagged"].any()
        assert table["share"].tolist() == [0, 0]
        assert "no true name is known" in caplog.text


def test_script_says_which_sets_have_no_labels(inputs, tmp_path, caplog):
    embed(tmp_path / "far", np.load(tmp_path / "far.npy"), [None, ""] * 40)
    flags, table = flag(inputs, rule="label")
    assert table["flagged"].tolist() == [50, 0]
    assert flags.loc[flags["image_set"] == "far", "label"].isna().sum() == 40
    assert "images of far have no labels" in caplog.text


def test_script_says_which_sets_have_unknown_labels(inputs, tmp_path, caplog):
    """A table of names for the training images only: the ids of others meet no name."""
    ids = ["n03", None, "n01", "n02"] * 20
    embed(tmp_path / "far", np.load(tmp_path / "far.npy"), ids)
    flag(inputs, rule="match")
    assert "no label" not in caplog.text
    assert flag(inputs, rule="label")[1]["flagged"].tolist() == [50, 0]
    assert "no label of far is in the corpus or the tree, e.g. 'n01'" in caplog.text
    assert "image_sets.far.label_names" in caplog.text
    assert "test" not in caplog.text
    # One known label is enough: of the corpus, or of the tree.
    caplog.clear()
    embed(tmp_path / "far", np.load(tmp_path / "far.npy"), [*ids[1:], "concept 2"])
    flag(inputs, rule="label")
    assert not caplog.text
    embed(tmp_path / "far", np.load(tmp_path / "far.npy"), [*ids[1:], "Sofa"])
    (tmp_path / "tree.csv").write_text("child,parent\nsofa,seat\n")
    inputs.trees = [tmp_path / "tree.csv"]
    flag(inputs, rule="label")
    assert not caplog.text


def test_corpus_of_true_names_only(inputs, tmp_path):
    """No other concept to lead: all images match, none by a margin."""
    embed(tmp_path / "train", np.ones((12, 8), np.float16), CONCEPTS)
    assert flag(inputs)[1]["share"].tolist() == [1, 1]
    assert flag(inputs, margin=0.1)[1]["share"].tolist() == [0, 0]


def test_script_refuses_texts_of_another_encoder(inputs, tmp_path):
    embed(tmp_path / "far", np.load(tmp_path / "far.npy"), [None] * 80, {"encoder": {"model": "n"}})
    with pytest.raises(InputError, match="different encoders"):
        flag(inputs)
