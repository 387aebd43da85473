"""Every artifact can be asked for by name, and Snakemake's own commands work on the whole DAG."""

import base64
import json
import re
import shutil
import zipfile

from projects import Project

SCORES = "results/scores/mini/tinyclip/kmeans_3/clustermine/seed0.parquet"
NEGATIVES = "results/negatives/mini/tinyclip/kmeans_3/clustermine/seed0.parquet"
# What no job makes: caches of the main process, logs, what Snakemake writes into a folder.
UNASKED = re.compile(
    r"results/(logs/|sources\.json|images/\w+/(hashes\.parquet|state\.json)|explore/\w+/clusters/)"
)


def without_results(finished, folder):
    """The miniature project as if it had never run."""
    skipped = shutil.ignore_patterns("results", ".snakemake")
    shutil.copytree(finished.folder, folder, ignore=skipped)
    return Project(folder)


def artifacts(project):
    files = (file for file in (project.folder / "results").rglob("*") if file.is_file())
    names = sorted(str(file.relative_to(project.folder)) for file in files)
    return [name for name in names if not UNASKED.match(name)]


def test_every_artifact_can_be_asked_for_by_name(finished, tmp_path):
    project = without_results(finished, tmp_path / "project")
    names = artifacts(finished)
    assert len(names) > 40
    planned = project.rules_run("-n", *names)
    assert planned["embed_images"] == 4
    assert planned["cluster"] == 2
    one_of_each_folder = list({name.rpartition("/")[0]: name for name in names}.values())
    for name in one_of_each_folder[::8]:
        assert project.rules_run("-n", name), name


def test_an_artifact_brings_the_missing_one_above_it(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    before = (project.folder / SCORES).read_bytes()
    for name in (SCORES, NEGATIVES):
        (project.folder / name).unlink()
    assert project.rules_run(SCORES) == {"mine_negatives": 1, "score_images": 1}
    assert (project.folder / SCORES).read_bytes() == before


def test_an_artifact_of_a_new_study_is_made_from_nothing(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    config = project.read_config()
    config["studies"]["other"] = config["studies"]["mini"] | {"far": ["stranger"]}
    project.write_config(config)
    name = SCORES.replace("/mini/", "/other/")
    assert project.rules_run(name) == {
        "list_images": 1, "embed_images": 1, "mine_negatives": 1, "score_images": 1,
    }  # fmt: skip
    assert (project.folder / name).is_file()


def test_a_dry_run_from_nothing_counts_all_jobs(finished, tmp_path):
    project = without_results(finished, tmp_path / "project")
    done = project.run("-n")
    planned = project.rules_run("-n")
    assert planned["list_images"] == 3
    assert planned["embed_images"] == 4  # two shards of the training images
    assert planned["summarise"] == 1
    total = int(re.search(r"^total +(\d+)$", done.stdout, re.MULTILINE).group(1))
    assert total == sum(planned.values()) + 1  # rule all


def test_until_stops_at_a_rule(finished, tmp_path):
    project = without_results(finished, tmp_path / "project")
    planned = project.rules_run("-n", "--until", "embed_images")
    assert planned == {"list_images": 3, "embed_images": 4}
    assert project.rules_run("--until", "list_images") == {"list_images": 3}
    assert project.rules_run("-n", "--until", "list_images") == {}
    assert project.rules_run("-n", "--until", "embed_images") == {"embed_images": 4}


def test_forcerun_runs_a_rule_and_what_is_below(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    planned = project.rules_run("-n", "--forcerun", "mine_negatives")
    assert planned["mine_negatives"] == 3
    assert planned["score_images"] == 3
    assert "embed_images" not in planned


def test_the_dag_is_drawn_whole(finished):
    graph = finished.run("--dag").stdout
    for rule in ("list_images", "embed_images", "cluster", "score_images", "summarise"):
        assert rule in graph


def test_the_summary_says_what_changed(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    lines = project.run("--summary").stdout.splitlines()
    assert sum(line.startswith("results/") for line in lines) > 40
    assert all("no update" in line for line in lines if line.startswith("results/"))
    config = project.read_config()
    config["detectors"]["mcm"] = {"method": "mcm", "temperature": 0.5}
    project.write_config(config)
    changed = [line for line in project.run("--summary").stdout.splitlines() if "params" in line]
    assert any(line.startswith(SCORES) for line in changed)


def shown_in(page):
    """Path -> what the page of a report says of it."""
    found = re.search(r"^ *var results = (\{.*\});?$", page, re.MULTILINE)
    return json.loads(found.group(1))


def test_a_report_shows_tables_figures_and_sheets(finished, tmp_path):
    """In a zip and in one file."""
    project = finished.copy(tmp_path / "project")
    project.run("--report", "report.zip")
    project.run("--report", "report.html")
    with zipfile.ZipFile(project.folder / "report.zip") as report:
        zipped = shown_in(report.read("report/report.html").decode())
        for path, entry in zipped.items():
            made = (project.folder / path).read_bytes()
            assert report.read(f"report/{entry['data_uri']}") == made
    single = shown_in((project.folder / "report.html").read_text("utf-8"))
    assert single.keys() == zipped.keys()
    for path, entry in single.items():
        made = (project.folder / path).read_bytes()
        assert base64.b64decode(entry["data_uri"].rpartition("base64,")[2]) == made
        assert "<p>" in entry["caption"], path
    tables = {path.stem for path in (project.folder / "results/tables").glob("*.md")}
    shown = {entry["labels"]["table"] for entry in single.values() if "table" in entry["labels"]}
    assert shown == tables
    assert single["results/figures/mini.png"]["labels"] == {"of": "study mini", "shows": "AUROC"}
    sheet = "results/figures/tinyclip/photos/words/kmeans_3/clustermine/seed0.png"
    assert single[sheet]["labels"]["mining"] == "clustermine"
    assert "<em>clustermine</em>" in single[sheet]["caption"]
    pages = {
        str(path.relative_to(project.folder))
        for path in (project.folder / "results/explore").rglob("*.html")
        if path.name != "1.html"  # which only leads to another page
    }
    assert pages and pages <= single.keys()
    assert len(single) == len(tables) + len(pages) + 2


def test_the_tables_of_other_studies_are_not_replaced_silently(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    config = project.read_config()
    config["studies"]["other"] = config["studies"]["mini"]
    project.write_config(config | {"run": ["mini", "other"]})
    warning = (
        "Warning: this run replaces the tables in results/tables/, which have the studies mini"
    )
    assert warning not in project.run("-n").stdout, "mini stays"
    project.write_config(config | {"run": ["other"]})
    assert project.run("-n").stdout.count(warning) == 1
    assert warning not in project.run("-n", SCORES.replace("/mini/", "/other/")).stdout
    assert warning not in project.run("-n", "--directory", tmp_path / "elsewhere").stdout
    done = project.run("--until", "mine_negatives")
    assert done.stdout.count(warning) == 1, "the jobs say nothing"
    assert "by those of other. To keep both, add --directory FOLDER" in done.stdout
    (project.folder / "results/tables/ood.parquet").write_text("no table")
    assert warning not in project.run("-n").stdout


def test_touch_marks_results_as_up_to_date(finished, tmp_path):
    """The way out if a change of code is known not to matter."""
    project = finished.copy(tmp_path / "project")
    with (project.folder / "workflow_scripts/mine_negatives.py").open("a") as file:
        file.write("\nUNUSED = 1\n")
    assert project.rules_run("-n")["mine_negatives"] == 3
    project.run("--touch")
    assert project.rules_run("-n") == {}
