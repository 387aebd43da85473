"""The demo world: what is drawn, which sets share what, and the demo corpus."""

import csv
import hashlib
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.lib.demo import drawing, world
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.trees import read_table_tree

DEMO = Path(__file__).parents[3] / "config/demo"


def labels(spec):
    return [label for label, _ in world.render(spec)]


def digest(folder):
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
    parts = [str(p.relative_to(folder)).encode() + p.read_bytes() for p in files]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def inside(shape):
    """The pixels that belong to an upright shape of unit radius."""
    return drawing.SHAPES[shape](drawing.X, drawing.Y) < 0


def area(shape):
    return inside(shape).mean() * 4


def test_shapes_have_the_area_that_geometry_says():
    assert area("circle") == pytest.approx(np.pi * 0.86**2, rel=0.02)
    assert area("square") == pytest.approx(1.52**2, rel=0.03)
    assert area("triangle") == pytest.approx(3 * np.sqrt(3) * 0.5**2, rel=0.03)
    assert area("ring") == pytest.approx(np.pi * (0.94**2 - 0.54**2), rel=0.03)
    assert area("diamond") == pytest.approx(2 * 0.62, rel=0.03)


def test_no_two_shapes_look_the_same():
    masks = {shape: inside(shape) for shape in drawing.SHAPES}
    assert len(masks) == 18
    for a in masks:
        for b in masks:
            overlap = (masks[a] & masks[b]).sum() / (masks[a] | masks[b]).sum()
            assert overlap == 1 if a == b else overlap < 0.87, (a, b)


def test_objects_have_their_colour_and_texture():
    """Across many drawings, the mean of a solid object tells red from blue; stripes vary more."""

    def centre(texture, rgb):
        drawn = [
            drawing.draw_object(texture, rgb, "circle", np.random.default_rng(i)) for i in range(80)
        ]
        return np.stack(drawn)

    red, blue = centre("solid", (214, 40, 40)), centre("solid", (38, 84, 214))
    difference = (red - blue).mean((0, 2, 3))
    assert difference[0] > 20
    assert difference[2] < -20
    assert centre("striped", (214, 40, 40)).std() > red.std()


def test_same_spec_same_bytes_and_other_seed_other_bytes(tmp_path):
    spec = {"content": "id", "images": 12, "seed": 3}
    for name, changed in (("a", {}), ("b", {}), ("c", {"seed": 4})):
        world.render_set(spec | changed, tmp_path / name)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a") != digest(tmp_path / "c")


def test_files_lie_in_label_folders_and_open_as_images(tmp_path):
    world.render_set({"content": "id", "images": 61, "seed": 0}, tmp_path)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert sorted(p.stem for p in files) == [f"{i:05d}" for i in range(61)]
    assert {p.parent.name for p in files} == {"_".join(c) for c in world.id_concepts()}
    with Image.open(files[0]) as image:
        assert (image.size, image.mode) == ((drawing.SIZE, drawing.SIZE), "RGB")


def test_a_longer_set_begins_with_the_same_object_free_images():
    short = [x for _, x in world.render({"content": "gradients", "images": 3, "seed": 5})]
    long = [x for _, x in world.render({"content": "gradients", "images": 6, "seed": 5})]
    np.testing.assert_array_equal(short, long[:3])


@pytest.mark.parametrize("corruption", drawing.CORRUPTIONS)
def test_corrupted_sets_show_the_same_scenes(corruption):
    """Each corrupted image differs from its clean one, yet its colours match that one best."""
    spec = {"content": "id", "images": 30, "seed": 8}
    clean_labels, clean = zip(*world.render(spec), strict=True)
    shifted_labels, shifted = zip(*world.render({**spec, "corruption": corruption}), strict=True)
    assert clean_labels == shifted_labels
    a, b = np.stack(clean).astype(float), np.stack(shifted).astype(float)
    assert np.all(np.abs(a - b).mean((1, 2, 3)) > 1)
    a, b = ((x - x.mean(-1, keepdims=True)).reshape(30, -1) for x in (a, b))
    similarity = np.corrcoef(a - a.mean(0), b - b.mean(0))[:30, 30:]
    assert np.mean(similarity.argmax(1) == np.arange(30)) > 0.9


def test_id_and_ood_sets_are_disjoint_as_claimed():
    ids = {"_".join(c) for c in world.id_concepts()}
    combinations = set(labels({"content": "unseen_combinations", "images": 324, "seed": 0}))
    shapes = set(labels({"content": "unseen_shapes", "images": 192, "seed": 0}))
    assert (len(ids), len(combinations), len(shapes)) == (60, 324, 192)
    assert not ids & combinations

    def words(names, place):
        return {name.split("_")[place] for name in names}

    assert words(combinations, 2) == set(world.ID_SHAPES) == words(ids, 2)  # near: known shapes
    assert not words(shapes, 2) & words(ids, 2)
    for place in (0, 1):  # the ID classes use every texture and colour
        assert words(ids, place) == words(combinations, place) == words(shapes, place)
    for content in ("textures", "noise", "gradients"):
        assert set(labels({"content": content, "images": 2, "seed": 0})) == {content}


def test_class_sizes_fall_linearly_or_are_equal():
    sizes = world.class_sizes(3600, 60, unequal=True)
    assert (sizes.sum(), sizes.max(), sizes.min()) == (3600, 100, 20)
    assert np.all(np.diff(sizes) <= 1)  # rounding of a falling line
    assert set(world.class_sizes(1800, 60, unequal=False)) == {30}
    counts = Counter(labels({"content": "id", "images": 360, "seed": 0, "sizes": "unequal"}))
    assert sorted(counts.values()) == sorted(world.class_sizes(360, 60, unequal=True))


@pytest.mark.parametrize(
    "change",
    [{"content": "cats"}, {"corruption": "rain"}, {"sizes": "odd"}, {"images": 0}, {"colour": 1}],
)
def test_a_wrong_spec_is_named(change):
    with pytest.raises(InputError, match=str(next(iter(change)))):
        next(world.render({"content": "id", "images": 1, "seed": 0} | change))


def read(name):
    with (DEMO / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_shipped_lists_are_the_generated_ones():
    shapes = [(row["concept"], row["pos"]) for row in read("shapes.csv")]
    assert shapes == world.corpus_names()
    assert [(row["child"], row["parent"]) for row in read("tree.csv")] == world.tree_edges()
    classes = (DEMO / "classes.txt").read_text().splitlines()
    assert classes == [world.concept_name(c) for c in world.id_concepts()]


def test_corpus_has_every_true_name_once():
    rows = read("shapes.csv") + read("english.csv")
    names = [row["concept"] for row in rows]
    assert len({name.lower() for name in names}) == len(names) >= 2000
    assert {world.concept_name(c) for c in world.compositions()} <= set(names)
    plain = Counter(row["pos"] for row in read("english.csv"))
    assert set(plain) == {"noun", "adjective"}
    assert plain["noun"] >= 900
    assert plain["adjective"] >= 350


def test_tree_joins_everything_that_is_drawn_or_named():
    tree = read_table_tree(DEMO / "tree.csv")
    nouns = {row["concept"] for row in read("shapes.csv") if row["pos"] == "noun"}
    assert nouns <= set(tree.parents)
    assert {n for n, above in tree.parents.items() if not above} == {"shape"}
    up = ["striped red circle", "striped circle", "circle", "round shape", "shape"]
    for child, parent in itertools.pairwise(up):
        assert tree.parents[child] == [parent]
    assert tree.parents["disc"] == ["circle"]
    assert tree.parents["red circle"] == ["circle"]
