from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_corpora import database

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts import trees

WORDNET = Path("/usr/share/wordnet")

# offset, lexicographer file, words, hypernyms, instance hypernyms; dog has two parents.
NOUNS = [
    ("00000001", 3, ["entity"], [], []),
    ("00000002", 5, ["animal", "animate_being"], ["00000001"], []),
    ("00000003", 5, ["pet"], ["00000002"], []),
    ("00000004", 5, ["canine", "canid"], ["00000002"], []),
    ("00000005", 5, ["dog", "domestic_dog", "Canis_familiaris"], ["00000004", "00000003"], []),
    ("00000006", 5, ["puppy"], ["00000005"], []),
    ("00000007", 18, ["dog"], ["00000001"], []),
    ("00000008", 15, ["Paris", "City_of_Light"], [], ["00000001"]),
    ("00000009", 18, ["Paris"], [], ["00000007"]),
    ("00000010", 18, ["Rex"], ["00000001"], ["00000005"]),
]


@pytest.fixture
def wordnet(tmp_path):
    database(tmp_path, "noun", "n", NOUNS)
    adjectives = [("00000001", 0, ["able"], [], []), ("00000002", 1, ["alpine"], [], [])]
    database(tmp_path, "adj", "a", adjectives)
    return tmp_path


def n(number):
    return f"n{number:08d}"


def test_reads_wordnets_files(wordnet):
    tree = trees.read_wordnet(wordnet)
    assert tree.nodes("dog") == (n(5), n(7))
    assert tree.nodes("Domestic_Dog") == tree.nodes(" canis  familiaris") == (n(5),)
    assert tree.nodes("cat") == ()
    assert tree.parents[n(5)] == [n(4), n(3)]
    assert tree.ancestors([n(5)]) == {n(4), n(3), n(2), n(1)}
    assert tree.ancestors([n(6), n(7)]) == {n(5), n(4), n(3), n(2), n(1)}
    assert tree.descendants([n(4)]) == {n(5), n(6), n(10)}
    assert tree.descendants([n(6), n(9)]) == tree.ancestors([n(1)]) == set()
    assert [i for i in range(1, 11) if tree.is_proper(n(i))] == [8, 9, 10]
    assert tree.file(n(1)) == "noun.Tops"
    assert tree.file(n(5)) == "noun.animal"
    assert tree.file(n(7)) == "noun.person"


def test_reads_all_parts_of_speech(wordnet):
    both = trees.read_trees(wordnet)
    assert both["noun"] == trees.read_wordnet(wordnet)
    adjective = both["adjective"]
    assert [adjective.file(*adjective.nodes(word)) for word in ("able", "alpine")] == [
        "adj.all",
        "adj.pert",
    ]


def test_path_similarity_by_hand(wordnet):
    similarity = trees.read_wordnet(wordnet).path_similarity
    assert similarity([n(5)], [n(5)]) == 1
    assert similarity([n(6)], [n(5)]) == 1 / 2
    assert similarity([n(3)], [n(4)]) == 1 / 3  # over animal
    assert similarity([n(6)], [n(7)]) == 1 / 6  # puppy, dog, pet, animal, entity, dog (person)
    assert similarity([n(6)], [n(7), n(3)]) == 1 / 3
    assert similarity([n(5), n(7)], [n(9)]) == 1 / 2
    assert similarity([], [n(1)]) == similarity([n(1)], []) == 0


def random_tree(rng, size):
    parents = {"0": []}
    for i in range(1, size):
        above = rng.choice(i, size=min(i, rng.integers(0, 3)), replace=False)
        parents[str(i)] = [str(p) for p in above]
    return trees.Tree({node: (node,) for node in parents}, parents)


def slow_up(tree, node):
    """Every path upwards, by recursion: node above -> shortest number of edges."""
    found = {node: 0}
    for parent in tree.parents[node]:
        for above, edges in slow_up(tree, parent).items():
            found[above] = min(found.get(above, 99), edges + 1)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_matches_recursion_on_random_trees(seed):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, 40)
    up = {node: slow_up(tree, node) for node in tree.parents}
    root_of = {node: [above for above in up[node] if not tree.parents[above]] for node in up}
    for node in tree.parents:
        assert tree.steps_up(node) == up[node]
        assert tree.depth(node) == min(up[node][root] for root in root_of[node])
        lineage = tree.lineage(node)
        assert lineage[0] in root_of[node]
        assert lineage[-1] == node
        assert len(lineage) == tree.depth(node) + 1
        for above, below in pairwise(lineage):
            assert above in tree.parents[below]
            assert tree.lineage(below)[-2] == above
        assert tree.ancestors([node]) == set(up[node]) - {node}
        assert tree.descendants([node]) == {m for m in up if node in up[m]} - {node}

    def slow(a, b):
        lengths = [up[a][c] + up[b][c] for c in up[a].keys() & up[b].keys()]
        return 1 / (1 + min(lengths)) if lengths else 0

    for a, b in product(tree.parents, repeat=2):
        assert tree.path_similarity([a], [b]) == slow(a, b)
    some, others = rng.choice(list(up), 4), rng.choice(list(up), 5)
    best = max(slow(a, b) for a in some for b in others)
    assert tree.path_similarity(some, others) == best


def test_node_title_and_lineage_by_hand(wordnet):
    tree = trees.read_wordnet(wordnet)
    assert tree.node("dog") == tree.node(" Domestic_Dog") == tree.node(n(5)) == n(5)
    assert tree.node(n(7)) == n(7)  # dog as a person: by its id only
    with pytest.raises(InputError, match="no node 'cat'"):
        tree.node("cat")
    assert [tree.title(n(i)) for i in (5, 7, 4, 8)] == ["dog", "dog", "canine", "paris"]
    assert trees.Tree({}, {"x": []}).title("x") == "x"
    # canine and pet have equal depth: the one with the lesser id
    assert tree.lineage(n(6)) == [n(1), n(2), n(3), n(5), n(6)]
    assert tree.lineage(n(1)) == [n(1)]
    assert [tree.depth(n(i)) for i in (1, 2, 5, 6, 9)] == [0, 1, 3, 4, 2]
    assert tree.steps_up(n(6)) == {n(6): 0, n(5): 1, n(4): 2, n(3): 2, n(2): 3, n(1): 4}


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_reads_a_table(tmp_path, ending):
    path = tmp_path / f"tree.{ending}"
    rows = {
        "child": ["Oak", "oak", "tree", "birch_tree", "plant"],
        "parent": ["tree", "tree", "plant", "Tree", None],
    }
    if ending == "parquet":
        pq.write_table(pa.table(rows), path)
    else:
        mark = {"csv": ",", "tsv": "\t"}[ending]
        lines = [f"{c}{mark}{p or ''}" for c, p in zip(*rows.values(), strict=True)]
        path.write_text("\n".join([f"child{mark}parent", *lines]) + "\n")
    tree = trees.read_trees(path)["noun"]
    assert tree.parents == {
        "oak": ["tree"], "tree": ["plant"], "plant": [], "birch tree": ["tree"],
    }  # fmt: skip
    assert tree.nodes("Birch Tree") == ("birch tree",)
    assert tree.descendants(["plant"]) == {"oak", "tree", "birch tree"}
    assert tree.path_similarity(["oak"], ["birch tree"]) == 1 / 3
    assert not tree.is_proper("oak")
    assert tree.file("oak") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("child,above\na,b\n", "no column 'parent'"),
        ("child,parent\na,b\n,c\n", "no child"),
        ("child,parent\na,b\nb,c\nc,b\n", "'b' is its own ancestor"),
        ("child,parent\na,a\n", "'a' is its own ancestor"),
        ("child,parent\na,b,c\n", "line 2: more fields than the header has"),
    ],
)
def test_refuses_bad_tables(tmp_path, text, message):
    path = tmp_path / "tree.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        trees.read_trees(path)


def test_refuses_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"data\.noun does not exist.*wordnet-base"):
        trees.read_trees(tmp_path)
    for name in ("tree.parquet", "tree.csv"):
        with pytest.raises(InputError, match=rf"{name} does not exist"):
            trees.read_trees(tmp_path / name)
    (tmp_path / "tree.parquet").write_text("child,parent\na,b\n")
    with pytest.raises(InputError, match="not a readable Parquet"):
        trees.read_trees(tmp_path / "tree.parquet")
    with pytest.raises(InputError, match=r"tree.txt must end in .csv, .tsv or .parquet"):
        trees.read_trees(tmp_path / "tree.txt")


def test_refuses_a_damaged_database(wordnet):
    data = wordnet / "data.noun"
    data.write_text(data.read_text() + "00000011 05 n\n")
    with pytest.raises(InputError, match=r"data\.noun or index\.noun is no WordNet 3"):
        trees.read_wordnet(wordnet)


@pytest.mark.skipif(not (WORDNET / "data.noun").is_file(), reason="no WordNet on this machine")
def test_the_real_wordnet():
    tree = trees.read_wordnet(WORDNET)
    assert len(tree.parents) == 82115  # WordNet 3.0's statistics (wnstats(7WN))
    assert len(tree.names) == 117798
    assert len(tree.instances) == 7730  # 5 of them are classes, too
    dog, cat = "n02084071", "n02121620"  # ImageNet's ids
    assert tree.nodes("dog")[0] == dog
    assert tree.nodes("true cat") == (cat,)
    assert tree.path_similarity([dog], [cat]) == 0.2  # NLTK's documentation
    assert [node for node, parents in tree.parents.items() if not parents] == ["n00001740"]
    assert tree.depth(dog) == 8  # NLTK's min_depth, over domestic animal
    assert [tree.title(node) for node in tree.lineage(dog)][-3:] == [
        "animal",
        "domestic animal",
        "dog",
    ]
    assert all(node in tree.parents for nodes in tree.names.values() for node in nodes)
    assert all(map(tree.is_proper, tree.nodes("Mount Everest")))
    assert not any(map(tree.is_proper, tree.nodes("mountain")))
