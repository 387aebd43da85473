"""`snakemake reproduce` on the miniature project, whose published values are its own."""

import pandas as pd
import pytest
import yaml
from projects import MINI
from sklearn.metrics import roc_auc_score
from snakemake.utils import update_config

from workflow_scripts.lib.config.resolve import resolve_config
from workflow_scripts.lib.errors import InputError

OWN = {
    "study": "mini", "mining": "clustermine", "published": "published.csv",
    "methods": {
        "MCM": {"detector": "mcm"},
        "NegLabel": {"detector": "neglabel", "negatives": "rest"},
        "AdaNeg": {"detector": "adaneg", "negatives": "rest"},
    },
}  # fmt: skip


def write(project, values, **block):
    """The published values of the project: method -> AUROC in percent."""
    rows = [f"{name},photos_test,strange,auroc,{value},ours\n" for name, value in values.items()]
    header = "method,id,ood_set,metric,value,source\n"
    (project.folder / "published.csv").write_text(header + "".join(rows))
    study = MINI["studies"]["mini"] | {"detectors": ["mcm", "neglabel", "adaneg"]}
    project.write_config(
        MINI | {
            "studies": {"mini": study},
            "reproduce": ["own"],
            "reproductions": {"own": OWN | block},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def reproduced(finished, tmp_path_factory):
    """A project with all scores of the study, and its AUROC in percent by scikit-learn."""
    project = finished.copy(tmp_path_factory.mktemp("reproduced") / "project")
    write(project, {"MCM": 50, "NegLabel": 50, "AdaNeg": 50})
    project.run("reproduce")
    path = "results/scores/mini/tinyclip/kmeans_3/clustermine/seed0.parquet"
    scores = pd.read_parquet(project.folder / path)
    belongs = scores["image_set"] == "photos_test"
    names = {"MCM": "mcm", "NegLabel": "neglabel:rest", "AdaNeg": "adaneg:rest"}
    return project, {m: 100 * roc_auc_score(belongs, scores[c]) for m, c in names.items()}


def beside(project):
    return pd.read_parquet(project.folder / "results/tables/reproduction.parquet").set_index(
        "method"
    )


def test_own_values_are_within_and_a_changed_one_is_not(reproduced, tmp_path):
    project, own = reproduced
    project = project.copy(tmp_path / "project")
    write(project, own)
    assert project.rules_run("reproduce") == {"compare_published": 1, "reproduce": 1}
    table = beside(project)
    assert table["ours"].to_dict() == pytest.approx(own)
    assert table["within_tolerance"].all() and len(table) == 3
    assert table["difference"].abs().max() < 1e-9
    text = (project.folder / "results/tables/reproduction.md").read_text()
    assert "3 of 3 values are within tolerance" in text

    write(project, own | {"NegLabel": own["NegLabel"] - 1.7})
    project.run("reproduce")
    assert beside(project)["within_tolerance"].to_dict() == {
        "MCM": True, "NegLabel": False, "AdaNeg": True,
    }  # fmt: skip
    text = (project.folder / "results/tables/reproduction.md").read_text()
    assert "2 of 3 values are within tolerance" in text
    alone, learning = text.split("## Methods that learn from the test images")
    assert "MCM" in alone and "NegLabel" in alone and "AdaNeg" not in alone
    assert "AdaNeg" in learning and "MCM" not in learning
    for ending in ("csv", "html"):
        assert (project.folder / f"results/tables/reproduction.{ending}").stat().st_size

    write(project, own | {"NegLabel": own["NegLabel"] - 1.7}, tolerance=2)
    project.run("reproduce")
    assert beside(project)["within_tolerance"].all()
    assert project.rules_run("-n", "reproduce") == {}


def test_mistakes_are_named_before_anything_runs(reproduced, tmp_path):
    project, own = reproduced
    project = project.copy(tmp_path / "project")
    for block, message in [
        ({"published": "gone.csv"}, "reproductions.own.published: gone.csv does not exist"),
        ({"mining": "frequency_7"}, "reproductions.own.mining: 'frequency_7' is not defined"),
    ]:
        write(project, own, **block)
        done = project.run("-n", "reproduce", check=False)
        assert done.returncode != 0 and message in done.stdout, done.stdout
    for block, message in [
        ({"mining": "random"}, "reproductions.own.mining: 'random' is none of the study's"),
        ({"methods": {"MCM": {"detector": "energy"}}}, "'energy' is none of the study's"),
        ({"methods": {"MCM": {"detector": "neglabel"}}}, "'neglabel' needs some"),
        ({"methods": {"MCM": {"detector": "mcm", "negatives": "rest"}}}, "'mcm' takes none"),
    ]:
        write(project, own, **block)
        config = yaml.safe_load((project.folder / "config/config.yaml").read_text("utf-8"))
        update_config(config, project.read_config())
        with pytest.raises(InputError, match=message):
            resolve_config(config)
    project.write_config(MINI)
    for target in ("reproduce", "results/tables/reproduction.csv"):
        done = project.run("-n", target, check=False)
        assert done.returncode != 0 and "reproduce is empty" in done.stdout
    assert project.run("-n").returncode == 0
    write(project, {"MCM": 50})
    done = project.run("reproduce", check=False)
    assert "'NegLabel' has no published value with id 'photos_test'" in done.stdout
