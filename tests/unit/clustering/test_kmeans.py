import numpy as np
import pytest
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import adjusted_rand_score

from workflow_scripts.lib.clustering.kmeans import assign, fit_kmeans, fit_minibatch
from workflow_scripts.lib.errors import InputError


def blobs(classes=8, per_class=60, d=16, spread=0.08, seed=0):
    """Unit-norm float32 rows around `classes` random directions, and their classes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, d))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.repeat(np.arange(classes), per_class)
    rows = centres[labels] + rng.normal(0, spread, (len(labels), d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


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
    centroids, objective, history = fit_kmeans(sample, 8, 0, spherical, 10, 20)
    assert centroids.shape == (8, 16)
    assert centroids.dtype == np.float32
    assert objective == pytest.approx(slow_objective(sample, centroids, spherical), rel=1e-6)
    clusters, _ = assign([sample], centroids, spherical)
    assert adjusted_rand_score(labels, clusters) == 1
    finals = list({row["restart"]: row["objective"] for row in history}.values())
    assert len(finals) == 10
    assert objective == (max(finals) if spherical else min(finals))


@pytest.mark.parametrize("spherical", [True, False])
def test_the_curve_improves_and_ends_at_the_final_objective(spherical):
    sample, _ = blobs(spread=0.3)
    _, objective, history = fit_kmeans(sample, 12, 1, spherical, 1, 15)
    curve = np.array([row["objective"] for row in history])
    assert 3 < len(curve) <= 16
    assert curve[-1] == objective
    gain = np.diff(curve) if spherical else -np.diff(curve)
    assert (gain > -1e-5).all()
    assert curve[0] != curve[-1]


def test_euclidean_is_as_good_as_scikit_learn():
    sample, _ = blobs(classes=30, spread=0.25)
    _, objective, _ = fit_kmeans(sample, 30, 0, False, 10, 50)
    reference = KMeans(30, n_init=10, random_state=0).fit(sample).inertia_ / len(sample)
    assert objective < 1.03 * reference


def test_spherical_centroids_are_the_unit_means_of_their_rows():
    sample, _ = blobs()
    centroids, _, _ = fit_kmeans(sample, 8, 0, True, 10, 20)
    clusters, cosine = assign([sample], centroids, True)
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
    centroids, _, _ = fit_kmeans(sample, 2, 0, False, 1, 20)
    means = np.stack([sample[labels == c].mean(axis=0) for c in (0, 1)])
    np.testing.assert_allclose(centroids[np.argsort(centroids[:, 0])], means, atol=1e-4)


def test_small_data_gives_no_warning(capfd):
    sample, _ = blobs(per_class=2)
    fit_kmeans(sample, 8, 0, True, 2, 5)
    assert capfd.readouterr() == ("", "")


def test_seeds():
    sample, _ = blobs(spread=0.3)
    first, again, other = (fit_kmeans(sample, 20, seed, True, 2, 5)[0] for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("spherical", [True, False])
def test_as_many_clusters_as_rows(spherical):
    sample, _ = blobs(classes=3, per_class=3)
    scaled = sample * 2
    centroids, objective, _ = fit_kmeans(scaled, 9, 0, spherical, 1, 5)
    if spherical:
        np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
        assert objective == pytest.approx(2, abs=1e-5)
    else:
        assert objective == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("spherical", [True, False])
def test_assign_streams_blocks(spherical):
    sample, _ = blobs()
    centroids = sample[[0, 100, 200, 400]]
    clusters, values = assign((sample[i : i + 77] for i in range(0, 480, 77)), centroids, spherical)
    cosine = sample.astype(np.float64) @ centroids.T.astype(np.float64)
    distance = ((sample[:, None].astype(np.float64) - centroids) ** 2).sum(axis=2)
    np.testing.assert_array_equal(clusters, cosine.argmax(axis=1))
    expected = cosine.max(axis=1) if spherical else distance.min(axis=1)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert (clusters.dtype, values.dtype) == (np.int32, np.float32)


def test_more_clusters_than_rows():
    with pytest.raises(InputError, match="9 clusters of 8 images"):
        fit_kmeans(blobs(per_class=1)[0], 9, 0, True, 1, 5)


# --- k-means++ and mini-batches -------------------------------------------------------------


@pytest.mark.parametrize("spherical", [True, False])
def test_plusplus_begins_at_better_rows_than_random(spherical):
    sample, _ = blobs(classes=40, per_class=10)
    first = {
        init: [row["objective"] for row in history if row["iteration"] == 0]
        for init in ("random", "kmeans++")
        for history in [fit_kmeans(sample, 40, 0, spherical, 5, 3, init)[2]]
    }
    if spherical:
        assert min(first["kmeans++"]) > max(first["random"])
    else:
        assert max(first["kmeans++"]) < min(first["random"])


def test_plusplus_equals_scikit_learn_from_the_same_start():
    sample, _ = blobs(spread=0.3)
    centroids, objective, _ = fit_kmeans(sample, 6, 0, False, 1, 100, "kmeans++")
    seed = int(np.random.SeedSequence(0).generate_state(1)[0])
    start = kmeans_plusplus(sample, 6, random_state=seed)[0]
    reference = KMeans(6, init=start, n_init=1, max_iter=100, tol=0).fit(sample)
    np.testing.assert_allclose(centroids, reference.cluster_centers_, atol=1e-4)
    assert objective == pytest.approx(reference.inertia_ / len(sample), rel=1e-4)


@pytest.mark.parametrize("fit", [
    lambda rows, k: fit_kmeans(rows, k, 0, True, 2, 3, "kmeans++"),
    lambda rows, k: fit_minibatch(rows, k, 0, True, 2, 4, 3),
])  # fmt: skip
def test_fewer_distinct_rows_than_clusters(fit):
    rows = np.repeat(blobs(classes=3, per_class=1)[0], 10, axis=0)
    centroids, objective, _ = fit(rows, 6)
    assert np.isfinite(centroids).all()
    assert objective == pytest.approx(1, abs=1e-5)


def test_unknown_init():
    with pytest.raises(InputError, match="set it to random or kmeans"):
        fit_kmeans(blobs()[0], 3, 0, True, 1, 5, "first")


@pytest.mark.parametrize("spherical", [True, False])
def test_minibatch_recovers_blobs_and_reports_its_own_objective(spherical):
    sample, labels = blobs()
    centroids, objective, history = fit_minibatch(sample, 8, 0, spherical, 3, 50, 10)
    assert (centroids.shape, centroids.dtype) == ((8, 16), np.float32)
    assert objective == pytest.approx(slow_objective(sample, centroids, spherical), rel=1e-6)
    assert adjusted_rand_score(labels, assign([sample], centroids, spherical)[0]) > 0.99
    assert [(row["restart"], row["iteration"]) for row in history] == [
        (restart, iteration) for restart in range(3) for iteration in range(11)
    ]
    finals = [row["objective"] for row in history if row["iteration"] == 10]
    assert objective == (max(finals) if spherical else min(finals))
    first = history[0]["objective"]
    assert finals[0] > first if spherical else finals[0] < first


def test_minibatch_comes_near_the_full_algorithm():
    sample, _ = blobs(classes=30, spread=0.25)
    _, objective, _ = fit_minibatch(sample, 30, 0, False, 5, 256, 20)
    reference = KMeans(30, n_init=10, random_state=0).fit(sample).inertia_ / len(sample)
    assert objective < 1.05 * reference


def test_spherical_minibatch_ignores_the_length_of_rows():
    sample, _ = blobs()
    length = np.exp2(np.random.default_rng(0).integers(-3, 4, (len(sample), 1))).astype(np.float32)
    plain, scaled = (
        fit_minibatch(rows, 8, 0, True, 1, 50, 3) for rows in (sample, sample * length)
    )
    np.testing.assert_allclose(plain[0], scaled[0], atol=1e-5)
    assert plain[1] == pytest.approx(scaled[1], rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(plain[0], axis=1), 1, atol=1e-6)


def test_minibatch_seeds_and_float16_memory_map(tmp_path):
    np.save(tmp_path / "e.npy", blobs(spread=0.3)[0].astype(np.float16))
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    first, again = (
        fit_minibatch(rows, 20, 3, True, 2, 64, 3)[0]
        for rows in (mapped, mapped.astype(np.float32))
    )
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != fit_minibatch(mapped, 20, 4, True, 2, 64, 3)[0].tobytes()


def test_minibatch_with_as_many_clusters_as_rows_and_more():
    sample, _ = blobs(classes=3, per_class=3)
    _, objective, _ = fit_minibatch(sample, 9, 0, False, 1, 4, 2)
    assert objective == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match="10 clusters of 9 images"):
        fit_minibatch(sample, 10, 0, False, 1, 4, 2)
