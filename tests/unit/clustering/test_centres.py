"""Images in the clusters of another encoder: by mean embeddings, and never in an empty one."""

import numpy as np

from workflow_scripts.lib.clustering.centres import assign


def test_an_image_is_in_the_cluster_of_the_nearest_mean():
    rng = np.random.default_rng(0)
    images, centres = (rng.normal(size=(n, 5)).astype(np.float32) for n in (40, 6))
    images, centres = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, centres))
    found, cosines = assign([images[:30], images[30:]], {"centres": centres}, {})
    np.testing.assert_array_equal(found, (images @ centres.T).argmax(axis=1))
    np.testing.assert_allclose(cosines, (images @ centres.T).max(axis=1), rtol=1e-5)


def test_a_cluster_without_a_mean_takes_in_no_image():
    images = np.array([[1, 0], [0, 1]], np.float32)
    centres = np.array([[-1, 0], [0, 0], [-0.6, -0.8]], np.float32)
    found, _ = assign([images], {"centres": centres}, {})
    assert found.tolist() == [2, 0], "the zero row has the highest cosine with both"
