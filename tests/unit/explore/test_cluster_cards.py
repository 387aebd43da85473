"""Cards of clusters: order, pages, names that several clusters share, labels beside them."""

from workflow_scripts.lib.explore.clusters import CARDS, cards, index


def row(cluster, size, name, **values):
    columns = {"runners_up": [], "runner_up_votes": [], "share": 0.5, "spread": 0.9}
    return columns | {"cluster": cluster, "size": size, "name": name} | values


def test_the_largest_first_and_equal_ones_by_id():
    found = cards([row(0, 5, "a"), row(1, 9, "b"), row(2, 9, "c")])
    assert [card["cluster"] for card in found] == [1, 2, 0]


def test_pages_have_so_many_cards():
    found = cards([row(i, 1, str(i)) for i in range(2 * CARDS + 1)])
    assert [card["page"] for card in found] == [1] * CARDS + [2] * CARDS + [3]


def test_clusters_of_one_name_know_each_other_and_empty_ones_have_none():
    names = ["a", "b", "a", None, None]
    found = cards([row(i, 9 - i, name) for i, name in enumerate(names)])
    assert [card["same"] for card in found] == [[2], [], [0], [], []]


def test_labels_beside_a_cluster_are_shares_of_its_labelled_images():
    labels = ["x", "x", "y", None, "y", "z"]
    found = cards([row(0, 4, "a"), row(1, 2, "b")], labels, [0, 0, 0, 0, 1, 1])
    assert found[0]["truth"] == [("x", 2 / 3), ("y", 1 / 3)]
    assert found[1]["truth"] == [("y", 0.5), ("z", 0.5)]


def test_the_index_finds_a_cluster_by_name_runner_up_and_label():
    named = row(3, 1200, "Red Fox", runners_up=["dog"], runner_up_votes=[4])
    (entry,) = index(cards([named], ["vulpes"], [3]))
    assert (entry["name"], entry["more"]) == ("Red Fox", ["dog", "vulpes"])
    assert (entry["id"], entry["page"], entry["size"]) == (3, 1, 1200)


def test_an_empty_cluster_has_no_share():
    (entry,) = index(cards([row(0, 0, None, share=float("nan"), spread=None)]))
    assert entry["share"] is None and entry["spread"] is None
    assert entry["name"] == "cluster 0"
