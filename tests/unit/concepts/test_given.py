"""Lists of names that the user gives, as positives and as negatives."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from small_corpora import write_wordnet

from workflow_scripts.lib.artifacts import read_meta, read_table, write_array, write_table
from workflow_scripts.lib.concepts.given import given_rows
from workflow_scripts.lib.concepts.models import AnyMining, AnyNegatives
from workflow_scripts.lib.errors import InputError
from workflow_scripts.mine_concepts import mine_concepts
from workflow_scripts.mine_negatives import mine_negatives

PUBLISHED = Path(__file__).parents[4] / "shared/data/published"
NAMES = ["dog", "sea lion", "red", "tree", "dog"]


def block(kind, method="given", **keys):
    """A config block of a mining or of negatives with its defaults."""
    given = {"file": "names.txt"} if method == "given" else {}
    model = TypeAdapter(kind).validate_python(
        {"method": method} | given | keys, context={"corpora": ["words", "more"]}
    )
    return model.model_dump()


def write(folder, text, name="names.txt"):
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


def test_names_are_found_as_a_corpus_spells_them_in_the_files_order(tmp_path):
    path = write(tmp_path, "Tree\n\n  Sea_Lion \nDOG\ntree\n")
    rows, missing = given_rows(path, block(AnyMining), NAMES, ["words"])
    assert rows.tolist() == [3, 1, 0] and missing == 0
    table = write(tmp_path, "name,other\nred,1\n", "names.csv")
    column = block(AnyMining, file={"path": "names.csv", "column": "name"})
    assert given_rows(table, column, NAMES, ["words"])[0].tolist() == [2]
    synsets = write(tmp_path, "n02084071 dog, domestic dog\n")
    mapping = block(AnyMining, file={"path": "names.txt", "format": "synset_mapping"})
    assert given_rows(synsets, mapping, NAMES, ["words"])[0].tolist() == [0]


def test_names_that_the_corpus_lacks(tmp_path):
    path = write(tmp_path, "tree\ncat\nant\nfox\nowl\n")
    message = (
        r"names.txt: 4 of 5 names are not in words, e.g. \['cat', 'ant', 'fox'\]; add the file to "
        r"the corpus \(corpora.words.files\), or .* missing: skip"
    )
    with pytest.raises(InputError, match=message):
        given_rows(path, block(AnyMining), NAMES, ["words"])
    skip = block(AnyMining, missing="skip")
    rows, missing = given_rows(path, skip, NAMES, ["words"])
    assert rows.tolist() == [3] and missing == 4
    with pytest.raises(InputError, match="5 of 5 names"):
        given_rows(path, skip, ["bee"], ["words"])
    with pytest.raises(InputError, match="is a folder"):
        given_rows(str(tmp_path), skip, NAMES, ["words"])


def corpus(folder, name, words, vectors):
    index = pa.table({"concept": words, "pos": ["noun"] * len(words)})
    write_table(folder / f"{name}.parquet", index)
    write_array(folder / f"{name}.npy", np.asarray(vectors, np.float16))


def test_positives_of_a_file_need_no_votes_and_their_lack_is_recorded(tmp_path):
    words = ["dog", "cat", "tree"]
    corpus(tmp_path, "words", words, np.eye(3))
    ids = pa.FixedSizeListArray.from_arrays(pa.array([0, 0, 1], pa.int32()), 1)
    cosines = pa.FixedSizeListArray.from_arrays(pa.array([0.5, 0.6, 0.7], pa.float32()), 1)
    similarity = {"image_id": ["a", "b", "c"], "concept_ids": ids, "cosines": cosines}
    write_table(tmp_path / "similarity.parquet", similarity)
    path = write(tmp_path, "tree\ndog\nyak\n")
    output = tmp_path / "positives.parquet"
    mine_concepts(
        *(tmp_path / "similarity.parquet", tmp_path / "words.parquet", None, [], [path]),
        block(AnyMining, missing="skip"), {"corpus": "words", "seed": 0}, output,
    )  # fmt: skip
    found = read_table(output).to_pydict()
    assert (found["concept"], found["votes"]) == (["dog", "tree"], [2, 0])
    meta = read_meta(output)
    assert (meta["method"], meta["lacking"], meta["n_positives"]) == ("given", 1, 2)


@pytest.fixture
def negatives(tmp_path):
    """A function of blocks, files and training images: the negatives it mines, and their meta."""
    corpus(tmp_path, "words", ["dog", "cat", "tree", "fox"], [[1, 0], [0.8, 0.6], [0, 1], [1, 0]])
    corpus(tmp_path, "more", ["cat", "owl"], [[0.8, 0.6], [-1, 0]])
    chosen = {"concept": ["dog"], "concept_id": pa.array([0], pa.int32())}
    write_table(tmp_path / "positives.parquet", chosen)

    def mine(blocks, files, train=(), trees=()):
        inputs = SimpleNamespace(
            positives=tmp_path / "positives.parquet",
            texts=[tmp_path / f"{name}.npy" for name in ("words", "more")],
            concepts=[tmp_path / f"{name}.parquet" for name in ("words", "more")],
            trees=trees, given=files, train=list(train[:1]), train_index=list(train[1:]),
        )  # fmt: skip
        cfg = {"corpora": ["words", "more"], "negatives": blocks}
        mine_negatives(inputs, cfg, {"seed": 0}, tmp_path / "negatives.parquet")
        rows = read_table(tmp_path / "negatives.parquet").to_pylist()
        return rows, read_meta(tmp_path / "negatives.parquet")

    return mine


def test_negatives_of_files_stand_in_their_order_without_the_positives(negatives, tmp_path):
    both = [write(tmp_path, "owl\ndog\ncat\n"), write(tmp_path, "fox\ndog\nemu\n", "other.txt")]
    theirs = block(AnyNegatives, corpora=["words", "more"])
    kept = block(AnyNegatives, missing="skip", exclude_positives=False)
    rows, meta = negatives({"theirs": theirs, "kept": kept}, both)
    assert [(row["negatives"], row["corpus"], row["concept"]) for row in rows] == [
        ("theirs", "more", "owl"), ("theirs", "words", "cat"),
        ("kept", "words", "fox"), ("kept", "words", "dog"),
    ]  # fmt: skip
    assert [row["concept_id"] for row in rows] == [1, 1, 3, 0]
    assert meta["lacking"] == {"theirs": 0, "kept": 1}
    json.dumps(meta)


def test_positives_are_candidates_where_that_is_asked_for(negatives):
    def concepts(**keys):
        rows, meta = negatives({"n": block(AnyNegatives, method="neglabel", share=1, **keys)}, [])
        assert "lacking" not in meta
        return [row["concept"] for row in rows]

    assert concepts() == ["tree", "cat", "fox"]
    assert concepts(exclude_positives=False) == ["tree", "cat", "dog", "fox"]


def test_every_block_has_its_own_tree_though_their_files_have_one_name(negatives, tmp_path):
    """In one tree a cat is a dog, in the other a fox; WordNet's files stand between them."""
    wordnet = write_wordnet(tmp_path / "wn")
    database = [wordnet / f"{kind}.{pos}" for kind in ("data", "index") for pos in ("noun", "adj")]
    trees = [tmp_path / "a/tree.csv", *database, tmp_path / "tree.csv"]
    (tmp_path / "a").mkdir()
    trees[0].write_text("child,parent\ncat,dog\ntree,\nfox,\n", "utf-8")
    trees[-1].write_text("child,parent\nfox,dog\ntree,\ncat,\n", "utf-8")
    named = {"a": "a/tree.csv", "c": "wn", "b": "tree.csv", "again": "a/tree.csv"}
    blocks = {
        name: block(AnyNegatives, method="rest", tree=tree, related=name == "c")
        for name, tree in named.items()
    }
    rows, _ = negatives(blocks, [], trees=trees)
    found = {name: {r["concept"] for r in rows if r["negatives"] == name} for name in named}
    assert found["a"] == found["again"] == {"tree", "fox"}
    assert found["b"] == {"tree", "cat"}


def published(name, *prefixes):
    lines = (PUBLISHED / name).read_text("utf-8").splitlines()
    for prefix in prefixes:
        lines = [line.removeprefix(prefix) for line in lines]
    return lines


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs the published lists")
def test_published_lists_are_read_in_full(tmp_path):
    before = published("negrefine_initial_neg_labels_noun.txt")
    path = write(tmp_path, "\n".join(published("negrefine_neg_labels_noun.txt")))
    with pytest.raises(InputError, match=r"101 of 4998 names .*'shepherds purse'"):
        given_rows(path, block(AnyNegatives), before, ["theirs"])  # it lost their apostrophes
    rows, missing = given_rows(path, block(AnyNegatives, missing="skip"), before, ["theirs"])
    assert (len(rows), missing) == (4897, 101)
    neglabel = published("neglabel_selected_imagenet1k.txt", "the nice ", "This is a ")
    neglabel = [name.removesuffix(" photo") for name in neglabel]
    names = sorted({name.lower() for name in neglabel})
    path = write(tmp_path, "\n".join(neglabel))
    rows, missing = given_rows(path, block(AnyNegatives), names, ["theirs"])
    assert missing == 0 and len(rows) == len(names)
