"""`k: auto` on the miniature project: the number of clusters is chosen, and used."""

import json
import shutil

import pandas as pd
import pytest
from changes import images_in, set_key
from projects import draw_set

from workflow_scripts.lib.artifacts import read_meta

KNOWN = [("solid", "red", "circle"), ("solid", "blue", "square"), ("striped", "green", "star")]
CLUSTERINGS = {
    "auto": {"method": "kmeans", "k": "auto", "restarts": 2, "threads": 1},
    "two_levels": {"method": "hierarchical", "k": "auto", "fine": 12, "threads": 1},
}


def make(project):
    """The project with enough training images for a sweep from 2 to 4 clusters."""
    draw_set(project.folder / "photos/many", KNOWN, 20, seed=5)
    config = project.read_config()
    config["image_sets"]["many"] = {"folder": "photos/many"}
    config["clusterings"] = CLUSTERINGS
    config["sweep"] = {"to": 4, "seeds": 2}
    config["studies"]["mini"] |= {
        "train": "many", "clusterings": list(CLUSTERINGS), "minings": ["clustermine"],
    }  # fmt: skip
    project.write_config(config)


def names_of_numbers(results, sweep):
    """The table joins the sweep with the votes of the sampled images, here all of them."""
    table = pd.read_parquet(results / "tables/number_of_clusters.parquet")
    keys = table[["study", "encoder", "clustering_encoder"]].drop_duplicates()
    assert keys.to_numpy().tolist() == [["mini", "tinyclip", "tinyclip"]]
    pd.testing.assert_frame_equal(table[sweep.columns], sweep)
    clusters = pd.read_parquet(results / "k/tinyclip/many/clusters.parquet").set_index("image_id")
    best = pd.read_parquet(results / "similarity/tinyclip/many/words.parquet").set_index("image_id")
    best = best.loc[clusters.index]
    votes = pd.DataFrame({"vote": best["concept_ids"].str[0], "cosine": best["cosines"].str[0]})
    assert len(votes) == 60
    for row in table.itertuples():
        ballots = votes.assign(cluster=clusters[str(row.k)]).groupby(["cluster", "vote"])["cosine"]
        ballots = ballots.agg(["size", "sum"]).reset_index()
        order = ballots.sort_values(["size", "sum", "vote"], ascending=[False, False, True])
        names = order.groupby("cluster").first()
        assert row.share == pytest.approx(names["size"].sum() / 60)
        assert row.names == names["vote"].nunique()


def test_the_number_of_clusters_is_chosen_and_used(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    make(project)
    results = project.folder / "results"
    wanted = [f"results/{name}" for name in (
        "k/tinyclip/many/sweep.md", "figures/k/tinyclip/many.png",
        "studies/mini/number_of_clusters.parquet", "tables/number_of_clusters.md",
        *(f"clusters/tinyclip/many/{name}/seed0.parquet" for name in CLUSTERINGS),
    )]  # fmt: skip
    for ran in (project.rules_run("-n"), project.rules_run("--cores", "2", *wanted)):
        assert (ran["choose_k"], ran["plot_k"], ran["cluster"]) == (1, 1, 2)
        assert ran["tabulate_sweep"] == 1

    chosen = json.loads((results / "k/tinyclip/many/choice.json").read_text())["k"]
    sweep = pd.read_parquet(results / "k/tinyclip/many/sweep.parquet")
    assert sweep["k"].tolist() == [2, 3, 4]
    assert f"{chosen} chosen" in (results / "k/tinyclip/many/sweep.md").read_text()
    for name in CLUSTERINGS:
        clusters = results / f"clusters/tinyclip/many/{name}/seed0.parquet"
        assert read_meta(clusters)["k"] == chosen
        assert pd.read_parquet(clusters)["cluster"].max() < chosen
    assert (results / "figures/k/tinyclip/many.png").stat().st_size > 1000
    names_of_numbers(results, sweep.assign(chosen=sweep["k"] == chosen))
    assert project.rules_run("-n", *wanted) == {}
    by_name = [f"results/{name}" for name in (
        "k/tinyclip/many/clusters.parquet", "studies/mini/number_of_clusters.parquet",
        "tables/number_of_clusters.md",
    )]  # fmt: skip
    for name in by_name:
        (project.folder / name).unlink()
    assert project.rules_run(*by_name)["tabulate_sweep"] == 1

    # What the choice follows from, and what it does not.
    shutil.copyfile(images_in(project, "strange")[0], images_in(project, "many")[0])
    again = project.rules_run("-n", *wanted)
    assert (again["choose_k"], again["plot_k"], again["cluster"]) == (1, 1, 2)


def test_only_the_sweep_changes_the_choice(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    make(project)
    choice = "results/k/tinyclip/many/choice.json"
    project.run("--cores", "2", choice)
    set_key("clusterings.auto.restarts", 3)(project)
    assert project.rules_run("-n", choice) == {}
    set_key("sweep.seeds", 3)(project)
    assert project.rules_run("-n", choice) == {"choose_k": 1}
