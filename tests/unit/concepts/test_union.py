from statistics import median

import numpy as np
import pytest
from mining_references import evidence, rows, slow_name

from workflow_scripts.lib.concepts.mining import clustermine, union
from workflow_scripts.lib.errors import InputError


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("minimum_count", [1, 2, 5, 1000])
@pytest.mark.parametrize("share", [0, 0.25, 1.5])
def test_union_is_the_clusters_names_and_the_frequent_ones(seed, minimum_count, share):
    rng = np.random.default_rng(seed)
    n, k, v = rng.integers(1, 200), rng.integers(1, 30), rng.integers(1, 40)
    votes, clusters = rng.integers(0, v, n).tolist(), rng.integers(0, k, n).tolist()
    cosines = (rng.integers(0, 5, n) / 8).tolist()  # exact sums, many ties
    names = [slow_name(votes, cosines, clusters, c)[0] for c in set(clusters)]
    least = max(minimum_count, share * median(votes.count(name) for name in names))
    expected = set(names) | {j for j in votes if votes.count(j) >= least}
    found = rows(union(evidence(votes, cosines, clusters), minimum_count, share))
    assert [row["concept_id"] for row in found] == sorted(
        expected, key=lambda j: (-votes.count(j), j)
    )
    assert [row["votes"] for row in found] == [votes.count(row["concept_id"]) for row in found]
    assert {row["clusters"] for row in found} == {0}


def test_what_a_cluster_must_be_does_not_concern_frequent_names():
    data = evidence([0, 1, 1, 2, 3, 3], [0.5] * 6, [0, 1, 1, 2, 2, 2])
    assert set(clustermine(data)["concept_id"]) == {0, 1, 3}
    assert set(union(data)["concept_id"]) == {0, 1, 3}
    assert set(union(data, 1, 0.5)["concept_id"]) == {0, 1, 2, 3}  # the median name has 2 images
    assert set(union(data, 1, 0.6)["concept_id"]) == {0, 1, 3}
    assert set(union(data, 3, minimum_size=3)["concept_id"]) == {3}
    assert set(union(data, 2, minimum_size=3)["concept_id"]) == {1, 3}
    assert set(union(data, 1, 0)["concept_id"]) == {0, 1, 2, 3}
    with pytest.raises(InputError, match="lower minimum_size"):
        union(data, minimum_size=4)


@pytest.mark.parametrize("split", [1, 4])
def test_what_other_names_need_does_not_depend_on_the_number_of_clusters(split):
    """Four classes of 8 images, of which some clusters hold two, or each only a part; a name of 3
    images is wrong, one of 4 right."""
    votes = np.repeat([0, 1, 2, 3, 4, 5], [8, 8, 8, 8, 3, 4])
    clusters = np.concatenate([np.repeat(np.arange(2 * split), 16 // split), np.zeros(7, int)])
    found = union(evidence(votes.tolist(), [0.5] * 39, clusters.tolist()))
    assert set(found["concept_id"]) == {0, 1, 2, 3, 5}
