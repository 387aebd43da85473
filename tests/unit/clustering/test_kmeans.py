import clustering_cases as cases
import numpy as np
import pyarrow as pa
import pytest
from clustering_cases import task_of
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from workflow_scripts.lib.clustering import kmeans, minibatch
from workflow_scripts.lib.clustering.rows import sample_rows
from workflow_scripts.lib.embeddings import Embeddings
from workflow_scripts.lib.errors import InputError

KMEANS = {"seed": 0, "spherical": True, "restarts": 10, "iterations": 20}
KMEANS |= {"init": "random", "sample": 0, "precision": "float32"}
MINIBATCH = {"seed": 0, "spherical": True, "restarts": 3, "batch_size": 50, "passes": 10}


def blobs(classes=8, per_class=60, **options):
    return cases.blobs(classes, per_class, **options)


def fit_kmeans(rows, k, **cfg):
    return kmeans.fit(task_of(rows, k, KMEANS | cfg))


def fit_minibatch(rows, k, **cfg):
    return minibatch.fit(task_of(rows, k, MINIBATCH | cfg))


def restarts(found):
    """The curve of objectives of every restart."""
    curves = {}
    for restart, objective in zip(
        found.history["restart"], found.history["objective"], strict=True
    ):
        curves.setdefault(restart, []).append(objective)
    return list(curves.values())


def slow_objective(sample, centroids, spherical):
    best = []
    for row in sample.astype(np.float64):
        if spherical:
            best.append(max(row @ centroid for centroid in centroids))
        else:
            best.append(min(((row - centroid) ** 2).sum() for centroid in centroids))
    return np.mean(best)


@pytest.mark.parametrize("spherical", [True, False])
def test_recovers_blobs_and_reports_its_own_objective(spherical):
    sample, labels = blobs()
    found = fit_kmeans(sample, 8, spherical=spherical, init="kmeans++")
    centroids, objective = found.weights["centroids"], found.meta["objective"]
    assert centroids.shape == (8, 16)
    assert centroids.dtype == np.float32
    assert objective == pytest.approx(slow_objective(sample, centroids, spherical), rel=1e-6)
    clusters, _ = kmeans.assign([sample], found.weights, {"spherical": spherical})
    assert adjusted_rand_score(labels, clusters) == 1
    finals = [curve[-1] for curve in restarts(found)]
    assert len(finals) == 10
    assert objective == (max(finals) if spherical else min(finals))


@pytest.mark.parametrize("spherical", [True, False])
def test_the_curve_improves_and_ends_at_the_final_objective(spherical):
    sample, _ = blobs(spread=0.3)
    found = fit_kmeans(sample, 12, seed=1, spherical=spherical, restarts=1, iterations=15)
    curve = np.array(found.history["objective"])
    assert found.history["iteration"] == list(range(len(curve)))
    assert 3 < len(curve) <= 16
    assert curve[-1] == found.meta["objective"]
    gain = np.diff(curve) if spherical else -np.diff(curve)
    assert (gain > -1e-5).all()
    assert curve[0] != curve[-1]


def test_euclidean_is_as_good_as_scikit_learn():
    sample, _ = blobs(classes=30, spread=0.25)
    found = fit_kmeans(sample, 30, spherical=False, iterations=50)
    reference = KMeans(30, n_init=10, random_state=0).fit(sample).inertia_ / len(sample)
    assert found.meta["objective"] < 1.03 * reference


def test_spherical_centroids_are_the_unit_means_of_their_rows():
    sample, _ = blobs()
    weights = fit_kmeans(sample, 8).weights
    centroids = weights["centroids"]
    clusters, cosine = kmeans.assign([sample], weights, {"spherical": True})
    means = np.stack([sample[clusters == c].mean(axis=0) for c in range(8)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(centroids, means, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(cosine, (sample * centroids[clusters]).sum(axis=1), atol=1e-6)


def test_all_rows_are_used_also_beyond_256_per_centroid():
    # Faiss would keep 2 * 256 of these rows, and its means would not be those of all rows.
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 3000)
    sample = rng.normal(np.array([[-5.0], [5.0]])[labels], 1, (6000, 4)).astype(np.float32)
    centroids = fit_kmeans(sample, 2, spherical=False, restarts=1).weights["centroids"]
    means = np.stack([sample[labels == c].mean(axis=0) for c in (0, 1)])
    np.testing.assert_allclose(centroids[np.argsort(centroids[:, 0])], means, atol=1e-4)


def test_small_data_gives_no_warning(capfd):
    sample, _ = blobs(per_class=2)
    fit_kmeans(sample, 8, restarts=2, iterations=5)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "warning" not in shown.err.lower()  # nothing but progress


def test_seeds():
    sample, _ = blobs(spread=0.3)
    first, again, other = (
        fit_kmeans(sample, 20, seed=seed, restarts=2, iterations=5).weights["centroids"]
        for seed in (3, 3, 4)
    )
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("spherical", [True, False])
def test_as_many_clusters_as_rows(spherical):
    sample, _ = blobs(classes=3, per_class=3)
    scaled = sample * 2
    found = fit_kmeans(scaled, 9, spherical=spherical, restarts=1, iterations=5)
    centroids, objective = found.weights["centroids"], found.meta["objective"]
    if spherical:
        np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
        assert objective == pytest.approx(2, abs=1e-5)
    else:
        assert objective == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("spherical", [True, False])
def test_assign_streams_blocks(spherical):
    sample, _ = blobs()
    centroids = sample[[0, 100, 200, 400]]
    blocks = (sample[i : i + 77] for i in range(0, 480, 77))
    clusters, values = kmeans.assign(blocks, {"centroids": centroids}, {"spherical": spherical})
    cosine = sample.astype(np.float64) @ centroids.T.astype(np.float64)
    distance = ((sample[:, None].astype(np.float64) - centroids) ** 2).sum(axis=2)
    np.testing.assert_array_equal(clusters, cosine.argmax(axis=1))
    expected = cosine.max(axis=1) if spherical else distance.min(axis=1)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert (clusters.dtype, values.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize("spherical", [True, False])
def test_scores_rank_the_centroids_as_their_distances_do(spherical):
    sample, _ = blobs()
    sample *= np.random.default_rng(0).uniform(0.5, 2, (len(sample), 1)).astype(np.float32)
    weights, cfg = {"centroids": sample[[0, 100, 200, 400]]}, {"spherical": spherical}
    found = kmeans.scores(sample, weights, cfg)
    rows, centroids = sample.astype(np.float64), weights["centroids"].astype(np.float64)
    cosine, distance = rows @ centroids.T, ((rows[:, None] - centroids) ** 2).sum(axis=2)
    if spherical:
        np.testing.assert_allclose(found, cosine, atol=1e-5)
    else:
        own = (rows**2).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found, own - distance, atol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=1), kmeans.assign([sample], weights, cfg)[0])


def test_more_clusters_than_rows():
    with pytest.raises(InputError, match="9 clusters of 8 images: set `k` from 1 to 8"):
        fit_kmeans(blobs(per_class=1)[0], 9)


def test_more_clusters_than_sampled_rows():
    with pytest.raises(InputError, match="`sample` is 7, too few images for `k`, 9"):
        fit_kmeans(blobs()[0], 9, sample=7)


def test_a_sample_has_its_size_and_keeps_the_order_of_the_rows():
    parts = [np.arange(30, dtype=np.float16)[:, None], np.arange(30, 50, dtype=np.float16)[:, None]]
    images = Embeddings(parts, pa.table({}), {})
    first, again, other = (sample_rows(images, 20, seed)[:, 0] for seed in (0, 0, 1))
    assert first.dtype == np.float32
    assert len(first) == len(set(first.tolist())) == 20
    assert (np.diff(first) > 0).all()
    assert first.tolist() == again.tolist() != other.tolist()
    for size in (0, 50, 99):
        assert sample_rows(images, size, 0)[:, 0].tolist() == list(range(50))


# --- mini-batches, and what they share -------------------------------------------------------


@pytest.mark.parametrize("fit", [
    lambda rows, k: fit_kmeans(rows, k, restarts=2, iterations=3, init="kmeans++"),
    lambda rows, k: fit_minibatch(rows, k, restarts=2, batch_size=4, passes=3),
])  # fmt: skip
def test_fewer_distinct_rows_than_clusters(fit):
    rows = np.repeat(blobs(classes=3, per_class=1)[0], 10, axis=0)
    found = fit(rows, 6)
    assert np.isfinite(found.weights["centroids"]).all()
    assert found.meta["objective"] == pytest.approx(1, abs=1e-5)


def test_unknown_init():
    with pytest.raises(InputError, match="set it to random, kmeans"):
        fit_kmeans(blobs()[0], 3, init="first")


@pytest.mark.parametrize("spherical", [True, False])
def test_minibatch_recovers_blobs_and_reports_its_own_objective(spherical):
    sample, labels = blobs()
    found = fit_minibatch(sample, 8, spherical=spherical)
    centroids, objective = found.weights["centroids"], found.meta["objective"]
    assert (centroids.shape, centroids.dtype) == ((8, 16), np.float32)
    assert objective == pytest.approx(slow_objective(sample, centroids, spherical), rel=1e-6)
    clusters, _ = minibatch.assign([sample], found.weights, {"spherical": spherical})
    assert adjusted_rand_score(labels, clusters) > 0.99
    assert found.history["restart"] == [restart for restart in range(3) for _ in range(11)]
    assert found.history["iteration"] == list(range(11)) * 3
    finals = [curve[10] for curve in restarts(found)]
    assert objective == (max(finals) if spherical else min(finals))
    first = found.history["objective"][0]
    assert finals[0] > first if spherical else finals[0] < first


def test_minibatch_comes_near_the_full_algorithm():
    sample, _ = blobs(classes=30, spread=0.25)
    found = fit_minibatch(sample, 30, spherical=False, restarts=5, batch_size=256, passes=20)
    reference = KMeans(30, n_init=10, random_state=0).fit(sample).inertia_ / len(sample)
    assert found.meta["objective"] < 1.05 * reference


def test_spherical_minibatch_ignores_the_length_of_rows():
    sample, _ = blobs()
    length = np.exp2(np.random.default_rng(0).integers(-3, 4, (len(sample), 1))).astype(np.float32)
    plain, scaled = (
        fit_minibatch(rows, 8, restarts=1, passes=3) for rows in (sample, sample * length)
    )
    centroids = plain.weights["centroids"]
    np.testing.assert_allclose(centroids, scaled.weights["centroids"], atol=1e-5)
    assert plain.meta["objective"] == pytest.approx(scaled.meta["objective"], rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)


def test_minibatch_seeds_and_float16_memory_map(tmp_path):
    np.save(tmp_path / "e.npy", blobs(spread=0.3)[0].astype(np.float16))
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    cfg = {"restarts": 2, "batch_size": 64, "passes": 3}
    first, again, other = (
        fit_minibatch(rows, 20, seed=seed, **cfg).weights["centroids"]
        for rows, seed in ((mapped, 3), (mapped.astype(np.float32), 3), (mapped, 4))
    )
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_minibatch_with_as_many_clusters_as_rows_and_more():
    sample, _ = blobs(classes=3, per_class=3)
    cfg = {"spherical": False, "restarts": 1, "batch_size": 4, "passes": 2}
    assert fit_minibatch(sample, 9, **cfg).meta["objective"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match="10 clusters of 9 images: set `k` from 1 to 9"):
        fit_minibatch(sample, 10, **cfg)
