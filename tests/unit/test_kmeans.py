import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.kmeans import assign, fit_kmeans


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
