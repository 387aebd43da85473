"""What a bootstrap draws together: against slow loops, and coverage by simulation."""

from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.lib.detection.bootstrap import interval, resample_counts
from workflow_scripts.lib.detection.metrics import ood_metrics
from workflow_scripts.lib.detection.resampling import grouping, sample_counts, units_of
from workflow_scripts.lib.detection.samples import counts_of, samples_of
from workflow_scripts.lib.detection.table import ALL, MEAN, row_draws, table_rows
from workflow_scripts.lib.errors import InputError

BY_FOLDER = {"folder": True, "image_id": "image_id", "group": "group"}
BY_TABLE = BY_FOLDER | {"folder": False}
CFG = {"test": "test", "near": ["a"], "far": ["b"], "shift": ["blur", "crop"], "resamples": 40}


def score_table(ids):
    """A table of image_set and image_id; ids: image set -> its image ids."""
    sets = [name for name, own in ids.items() for _ in own]
    columns = {"image_set": sets, "image_id": [one for own in ids.values() for one in own]}
    return pa.table(columns)


def counts(ids, groups=None, flags=None, **cfg):
    table, cfg = score_table(ids), CFG | cfg
    samples, unflagged = samples_of(table, flags, cfg)
    return counts_of(table, samples, unflagged, groups or {}, cfg, resample_counts)


# ---- units ---------------------------------------------------------------------------------------


def test_copies_of_test_images_are_drawn_equally_often_in_whatever_order():
    ids = {"test": list("pqrst"), "blur": list("tsrqp"), "crop": list("uvw")}
    ids |= {"a": list("pqrst"), "b": list("xy")}
    found = counts(ids)
    assert np.array_equal(found["test"], found["blur"][::-1])
    assert not np.array_equal(found["test"], found["a"]), "equal ids of OOD sets mean nothing"
    # Sets that share nothing have the counts of their name, as without any sharing.
    for name in ("crop", "a", "b"):
        assert np.array_equal(found[name], resample_counts(name, len(ids[name]), 40))


def test_partly_shared_sets_keep_their_sizes():
    ids = {"test": list("pqrstuvw"), "blur": list("wvu"), "crop": list("uxy"), "a": ["1"]}
    found = counts(ids, far=[])
    for name, own in ids.items():
        assert (found[name].sum(axis=0) == len(own)).all(), name
    rows = {name: dict(zip(own, found[name], strict=True)) for name, own in ids.items()}
    assert np.array_equal(rows["test"]["v"], rows["blur"]["v"])
    assert np.array_equal(rows["test"]["u"], rows["crop"]["u"])


def test_images_of_a_group_are_drawn_together_and_as_often_as_its_namesake():
    ids = {"test": ["v/1", "v/2", "w/1"], "blur": ["v/1"], "crop": ["z/1"]}
    ids |= {"a": ["w/9", "k/1"], "b": ["1"]}
    (folder,) = grouping([], [BY_FOLDER])
    found = counts(ids, {"test": folder, "blur": folder, "a": folder})
    assert np.array_equal(found["test"][0], found["test"][1])
    assert np.array_equal(found["test"][0], found["blur"][0])
    assert np.array_equal(found["test"][2], found["a"][0]), "w is one group in both sets"
    assert np.array_equal(found["crop"], resample_counts("crop", 1, 40))


def test_unflagged_images_are_resampled_on_their_own():
    ids = {"test": list("pq"), "a": ["v/1", "v/2", "w/1", "x/1"], "b": ["1"]}
    judged = {"a": dict.fromkeys(ids["a"], False) | {"v/1": True}, "b": {"1": False}}
    groups = {"a": grouping([], [BY_FOLDER])[0]}
    plain = counts(ids, groups, shift=[])
    found = counts(ids, groups, judged, shift=[])
    assert found.keys() - plain.keys() == {"a (unflagged)"}
    assert all(np.array_equal(found[name], plain[name]) for name in plain)
    assert np.array_equal(found["a (unflagged)"], resample_counts("a (unflagged)", 3, 40))


def test_draws_are_the_metrics_of_drawn_groups_by_a_slow_loop():
    """Groups of one to four images, test images with copies in `blur`, and all pooled."""
    rng = np.random.default_rng(0)
    videos = [f"v{i}/{j}" for i in range(12) for j in range(1 + i % 4)]
    ids = {"test": videos, "blur": videos[::-1], "crop": [f"c{i}" for i in range(15)]}
    ids |= {"a": [f"o{i}/{j}" for i in range(9) for j in range(1 + i % 3)], "b": list("xyz")}
    (folder,) = grouping([], [BY_FOLDER])
    groups = dict.fromkeys(("test", "blur", "a"), folder)
    scores = {name: rng.normal(name not in "ab", 1, len(own)).round(1) for name, own in ids.items()}
    scores[ALL] = np.concatenate([scores[name] for name in ("test", "blur", "crop")])
    rows = table_rows("test", ["a"], ["b"], ["blur", "crop"])
    draws = row_draws(rows, scores, counts(ids, groups), ["test", "blur", "crop"])

    rngs = {name: np.random.default_rng([0, *name.encode()]) for name in ("test+blur", *ids)}

    def drawn_groups(stratum, image_set):
        """Group -> how often, of one resample, by the order in which groups first occur."""
        names = [folder(one) if image_set in groups else one for one in ids[image_set]]
        names = list(dict.fromkeys(names))
        picked = rngs[stratum].integers(0, len(names), len(names), dtype=np.int32)
        return [names[i] for i in picked]

    for resample in range(40):
        drawn = {}
        picked = drawn_groups("test+blur", "test")
        parts = {"test": picked, "blur": picked}
        parts |= {name: drawn_groups(name, name) for name in ("crop", "a", "b")}
        for name, own in parts.items():
            key = folder if name in groups else str
            values = [
                [s for one, s in zip(ids[name], scores[name], strict=True) if key(one) == unit]
                for unit in own
            ]
            drawn[name] = np.concatenate(values)
        drawn[ALL] = np.concatenate([drawn[name] for name in ("test", "blur", "crop")])
        for i, row in enumerate(rows):
            pairs = [ood_metrics(drawn[one], drawn[other]) for one, other in row.pairs]
            for metric in ("auroc", "fpr95"):
                expected = np.mean([pair[metric] for pair in pairs])
                assert draws[metric][i, resample] == pytest.approx(expected, abs=1e-12), row


# ---- coverage ------------------------------------------------------------------------------------


def correlated(rng, groups, size, mean):
    """Scores of images in groups: half of their variance of 1 is the group's."""
    own = rng.normal(0, 0.5**0.5, (groups, size)) + rng.normal(0, 0.5**0.5, (groups, 1))
    return mean + own.ravel()


def test_intervals_by_groups_cover_where_those_by_images_do_not():
    """The true AUROC is that of N(1, 1) and N(0, 1); 40 groups of 8 images each side."""
    truth, runs, size = NormalDist().cdf(0.5**0.5), 150, 8
    rng, covered = np.random.default_rng(1), {"image": 0, "group": 0}
    ids = {name: [f"{name}{i // size}/{i % size}" for i in range(40 * size)] for name in ("i", "o")}
    rows = table_rows("i", ["o"], [], [])[:1]
    units = {
        "image": {name: units_of(name, own) for name, own in ids.items()},
        "group": {name: units_of(name, own, grouping([], [BY_FOLDER])[0]) for name, own in
                  ids.items()},
    }  # fmt: skip
    drawn = {kind: sample_counts(own, 200) for kind, own in units.items()}
    for _ in range(runs):
        scores = {"i": correlated(rng, 40, size, 1), "o": correlated(rng, 40, size, 0)}
        for kind, own in drawn.items():
            low, high = interval(row_draws(rows, scores, own, ["i"])["auroc"][0])
            covered[kind] += low <= truth <= high
    # Independent images would be .95; 36 effective ones a group of 8 count for about two.
    assert covered["image"] / runs < 0.8
    assert 0.88 <= covered["group"] / runs <= 0.99


def test_means_over_shifted_copies_are_covered_where_the_copies_are_drawn_together():
    """Three shifts leave most of an image's score: the mean over them is no better than one."""
    truth, runs, n = NormalDist().cdf(0.5**0.5), 150, 150
    shifts = ["s", "t", "u"]
    rows = [r for r in table_rows("i", ["o"], [], shifts) if r.id_set == MEAN][:1]
    ids = {name: [str(i) for i in range(n)] for name in ("i", *shifts)}
    ids["o"] = [f"o{i}" for i in range(1000)]
    together = sample_counts({k: units_of(k, own, None, k != "o") for k, own in ids.items()}, 200)
    apart = sample_counts({name: units_of(name, own) for name, own in ids.items()}, 200)
    rng, covered, widths = np.random.default_rng(2), [0, 0], [0.0, 0.0]
    for _ in range(runs):
        image = rng.normal(1, 0.9**0.5, n)
        scores = {name: image + rng.normal(0, 0.1**0.5, n) for name in ("i", *shifts)}
        scores |= {"o": rng.normal(0, 1, 1000), ALL: np.zeros(0)}
        for i, counted in enumerate((together, apart)):
            low, high = interval(row_draws(rows, scores, counted, ["i", *shifts])["auroc"][0])
            covered[i] += low <= truth <= high
            widths[i] += high - low
    assert 0.88 <= covered[0] / runs <= 0.99
    assert covered[1] / runs < 0.86
    assert widths[0] / widths[1] > 1.2


# ---- tables of groups ----------------------------------------------------------------------------


def test_groups_of_a_table(tmp_path):
    (tmp_path / "videos.csv").write_text("clip,video\n1.jpg,v\n2.jpg,w\n")
    block = BY_TABLE | {"image_id": "clip", "group": "video"}
    none, group_of = grouping([tmp_path / "videos.csv"], [None, block])
    assert none is None
    assert units_of("test", ["2.jpg", "1.jpg"], group_of) == [("group", "w"), ("group", "v")]
    with pytest.raises(InputError, match=r"videos.csv has no group for the image '3.jpg'; add"):
        group_of("3.jpg")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,v\n1,w\n", "line 3: '1' has two groups, 'v' and 'w'"),
        ("1,\n", "line 2: an image id and a group are needed"),
    ],
)
def test_mistakes_in_a_table_of_groups(tmp_path, rows, message):
    (tmp_path / "g.csv").write_text(f"image_id,group\n{rows}")
    with pytest.raises(InputError, match=message):
        grouping([tmp_path / "g.csv"], [BY_TABLE])


def test_an_image_without_folder_has_no_group():
    with pytest.raises(InputError, match=r"'1\.jpg' lies in no folder"):
        grouping([], [BY_FOLDER])[0]("1.jpg")
