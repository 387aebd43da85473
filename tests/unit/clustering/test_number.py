"""How the number of clusters is chosen."""

import numpy as np
import pandas as pd
import pytest
from clustering_cases import blobs
from sklearn.metrics import adjusted_rand_score

from workflow_scripts import plot_k
from workflow_scripts.lib.clustering import number
from workflow_scripts.lib.clustering.centroids import nearest
from workflow_scripts.lib.clustering.lloyd import lloyd
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.report.tables import write_frame

SWEEP = {"from": 2, "to": 32, "steps": 9, "sample": 0, "seeds": 3}


def curve(agreement):
    return pd.DataFrame({"k": 2 ** np.arange(1, 1 + len(agreement)), "halves_ari": agreement})


@pytest.mark.parametrize("classes", [4, 8, 16])
def test_finds_the_number_of_separate_blobs(classes):
    rows, _ = blobs(classes, per_class=1200 // classes, spread=0.03)
    frame, _ = number.sweep(rows, SWEEP)
    assert number.choose(frame) == classes
    found = frame.set_index("k").loc[classes]
    assert found[["halves_ari", "seeds_ari"]].min() > 0.95


def test_one_blob_has_no_stable_number():
    rows, _ = blobs(1, per_class=1200, spread=0.3)
    frame, _ = number.sweep(rows, SWEEP)
    assert frame["halves_ari"].max() < 0.5


def test_agreement_is_that_of_scikit_learn():
    rows, _ = blobs(spread=0.3)
    order = np.random.default_rng(7).permutation(200)
    first, second, third = np.sort(order[:67]), np.sort(order[67:134]), np.sort(order[134:])
    clusters = [
        nearest([rows[third]], lloyd(rows[part], 6, number.KMEANS, 7)[0], spherical=True)[0]
        for part in (first, second)
    ]
    expected = adjusted_rand_score(*clusters)
    assert 0 < expected < 1
    assert number.between_halves(rows, 6, 7) == pytest.approx(expected)


def test_a_row_of_the_sweep_sums_its_repetitions_up():
    rows, _ = blobs(spread=0.3)
    frame, first = number.sweep(rows, SWEEP | {"from": 6, "to": 7, "steps": 2})
    row = frame.iloc[0]
    halves = [number.between_halves(rows, 6, seed) for seed in range(3)]
    assert row["halves_ari"] == pytest.approx(sum(halves) / 3)
    variance = sum((value - row["halves_ari"]) ** 2 for value in halves) / 2
    assert row["halves_se"] == pytest.approx((variance / 3) ** 0.5)
    fits = [lloyd(rows, 6, number.KMEANS, seed)[0] for seed in range(3)]
    clusters = [nearest([rows], found, spherical=True)[0] for found in fits]
    pairs = [adjusted_rand_score(clusters[i], clusters[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert row["seeds_ari"] == pytest.approx(sum(pairs) / 3)
    assert [*first] == [6, 7]
    assert (first[6] == clusters[0]).all() and len(first[7]) == len(rows)
    cosines = [(rows @ found.T).max(axis=1).mean() for found in fits]
    assert row["objective"] == pytest.approx(sum(cosines) / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("agreement", "k"),
    [
        ([0.9, 0.3, 0.5, 0.4, 0.2], 8),  # the only peak, not the highest value
        ([0.9, 0.3, 0.5, 0.4, 0.6, 0.2], 32),  # the last peak
        ([0.9, 0.3, 0.5, 0.4, 0.6], 32),  # still rising at the end
        ([0.9, 0.8, 0.5, 0.4], 2),  # no peak
        ([0.5, 0.8], 4),
    ],
)
def test_the_last_peak_is_chosen(agreement, k):
    assert number.choose(curve(agreement)) == k


def test_the_grid_is_geometric_and_bounded_by_the_sample():
    cfg = {"from": 2, "to": 128, "steps": 7}
    assert number.numbers(cfg, 15 * 128) == [2, 4, 8, 16, 32, 64, 128]
    assert number.numbers(cfg, 15 * 8) == [2, 3, 4, 5, 6, 8]
    with pytest.raises(InputError, match="44 images allow at most 2 clusters"):
        number.numbers(cfg, 44)


def test_same_images_same_bytes():
    rows, _ = blobs(spread=0.3)
    (frame, first), (again, second) = (number.sweep(rows, SWEEP) for _ in range(2))
    pd.testing.assert_frame_equal(frame, again, check_exact=True)
    assert [*first] == [*second] == frame["k"].tolist()
    assert all((first[k] == second[k]).all() for k in first)


def test_the_figure_shows_the_sweep_and_the_choice(tmp_path, monkeypatch):
    sweep = {"k": [2, 4], "objective": [0.7, 0.8], "seeds_ari": [0.6, 0.5]}
    sweep |= {"halves_ari": [0.3, 0.4], "halves_se": [0.1, 0.05]}
    write_frame(tmp_path / "sweep.parquet", pd.DataFrame(sweep))
    (tmp_path / "choice.json").write_text('{"k": 4}')
    drawn = []
    monkeypatch.setattr(plot_k, "line_panels", lambda *args, **kwargs: drawn.extend(args))
    plot_k.plot_k(tmp_path / "sweep.parquet", tmp_path / "choice.json", "photos", ["k.png"])
    _, panels, *_, caption = drawn
    assert caption.startswith("Chosen: 4 clusters.")
    halves, seeds = panels["agreement (ARI)"].values()
    np.testing.assert_allclose(halves, [[0.3, 0.2, 0.4], [0.4, 0.35, 0.45]])
    np.testing.assert_allclose(seeds["low"], [0.6, 0.5])
    np.testing.assert_allclose(panels["objective"]["mean cosine"]["mean"], [0.7, 0.8])
