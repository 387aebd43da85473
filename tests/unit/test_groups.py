import numpy as np
import pytest

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.groups import group_sums, scatter_within


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_and_scatter_are_those_of_each_group(dtype):
    rng = np.random.default_rng(0)
    rows, groups = rng.normal(size=(70, 4)).astype(dtype), rng.integers(0, 5, 70)
    groups[groups == 3] = 0
    parts = [rows[:11], rows[11:11], rows[11:]]
    sums = group_sums(parts, groups, 6)
    assert sums.dtype == np.float64
    expected = [rows[groups == c].sum(axis=0, dtype=np.float64) for c in range(6)]
    np.testing.assert_allclose(sums, expected, atol=1e-5)
    counts = np.bincount(groups, minlength=6)
    means = np.array([total / max(n, 1) for total, n in zip(expected, counts, strict=True)])
    weights = rng.random(6)
    scatter = sum(
        weights[c] * n * np.cov(rows[groups == c].T, bias=True) for c, n in enumerate(counts) if n
    )
    np.testing.assert_allclose(scatter_within(parts, groups, means, weights), scatter, atol=1e-5)


def test_refuses_groups_of_other_images():
    for short in ([np.ones((3, 2))], [np.ones((4, 2)), np.ones((1, 2))]):
        with pytest.raises(InputError, match="images but 4 cluster assignments"):
            group_sums(short, np.zeros(4, int), 1)
