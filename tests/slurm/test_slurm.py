"""The workflow on a real SLURM of two nodes on one machine, through profiles/slurm."""

import contextlib
import filecmp
import os
import signal
import subprocess
import sys
from pathlib import Path

import cluster
import pytest
from cluster import wait_for
from projects import Project, make_project

pytestmark = pytest.mark.skipif(cluster.why_not() is not None, reason=str(cluster.why_not()))

CORPUS = "results/corpora/words.parquet"
MANIFEST = "results/images/photos/manifest.parquet"
TEMI = "results/clusters/tinyclip/photos/temi_3/seed0.parquet"
SHARD = "results/embeddings/tinyclip/images/strange/00000.npy"
PROFILE = "profiles/slurm/profile.yaml"
TIMES = ("logs/", "hashes.parquet", "sources.json", "state.json", "provenance.html", ".cost.json")
# Memory that the job holds for longer than SLURM takes to look at it.
BALLAST = "import time\n\nBALLAST = bytearray(600_000_000)\ntime.sleep(6)\n"
# The first training stops after two epochs, each of which is saved, and waits to be killed.
STOPS_ONCE = """

class progress(progress):
    def __iter__(self):
        for number, item in enumerate(super().__iter__()):
            if self.unit == "epoch":
                sys.modules["workflow_scripts.lib.clustering.epochs"].CHECKPOINT_SECONDS = 0
                if number == 2 and not Path("stopped").exists():
                    Path("stopped").touch()
                    time.sleep(3600)
            yield item
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of SLURM's commands."""
    folder = tmp_path_factory.mktemp("slurm") / "slurm"
    with contextlib.ExitStack() as stack:
        try:
            environment = stack.enter_context(cluster.running(folder))
        except TimeoutError as error:
            pytest.skip(f"SLURM does not start here: {error}")
        yield environment


class SlurmProject(Project):
    """A project whose jobs SLURM runs."""

    def __init__(self, folder, environment):
        super().__init__(folder)
        self.environment |= environment

    def command(self, *targets):
        """The profile as it is, but for the seconds until its first look at jobs."""
        snakemake = Path(sys.executable).with_name("snakemake")
        options = ["--configfile", "mini.yaml", "--slurm-init-seconds-before-status-checks", "3"]
        return [snakemake, *targets, "--workflow-profile", "profiles/slurm", *options]

    def start(self, *targets):
        """Start Snakemake, in a process group of its own; its output goes to main.log."""
        # In a shell's job in the background SIGINT is ignored, which Snakemake would inherit.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with (self.folder / "main.log").open("w") as log:
            return subprocess.Popen(
                self.command(*targets),
                cwd=self.folder,
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def edit(self, file, old, new):
        text = (self.folder / file).read_text()
        assert text.count(old) == 1
        (self.folder / file).write_text(text.replace(old, new))

    def jobs(self, states="all"):
        """The SLURM jobs of this project: number, state, memory, node, GPUs and comment."""
        fields = ("JobID", "State", "MinMemory", "NodeList", "tres-per-job", "Comment", "WorkDir")
        shown = ":|,".join(fields) + ":"
        command = ["squeue", f"--states={states}", "--noheader", "--sort=i", f"--Format={shown}"]
        done = subprocess.run(
            command, env=os.environ | self.environment, text=True, capture_output=True, check=True
        )
        rows = [line.split("|") for line in done.stdout.splitlines()]
        return [row[:-1] for row in rows if row[-1] == str(self.folder)]

    def processes(self):
        """Programs that run in the project's folder."""
        places = Path("/proc").glob("[0-9]*/cwd")
        return [place for place in places if os.path.realpath(place) == str(self.folder)]


def files(project):
    """The project's results, but for those with times in them."""
    results = project.folder / "results"
    paths = {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}
    return {
        path for path in paths if not path.startswith(TIMES[0]) and not path.endswith(TIMES[1:])
    }


def test_two_jobs_of_the_queue_write_what_a_local_run_writes(slurm, tmp_path):
    local = make_project(tmp_path / "local")
    local.run(CORPUS, MANIFEST)
    project = SlurmProject(make_project(tmp_path / "project").folder, slurm)
    project.run(CORPUS, MANIFEST)
    comments = {comment for *_, comment in project.jobs()}
    assert comments == {"rule_build_corpus_wildcards_words", "rule_list_images_wildcards_photos"}
    for file in (CORPUS, MANIFEST):
        assert filecmp.cmp(local.folder / file, project.folder / file, shallow=False), file


def test_a_study_is_byte_identical_to_a_local_run(slurm, finished, tmp_path):
    project = SlurmProject(make_project(tmp_path / "project").folder, slurm)
    ran = project.run().stdout
    assert files(project) == files(finished)
    assert len(files(project)) > 90
    for file in files(project):
        names = [one.folder / "results" / file for one in (project, finished)]
        assert filecmp.cmp(*names, shallow=False), file
    _, states, _, nodes, gpus, comments = zip(*project.jobs(), strict=True)
    assert set(states) == {"COMPLETED"}
    assert set(nodes) == {"n1", "n2"}
    assert set(gpus) == {"N/A"}
    assert len(states) == 19, "of 47 jobs: 12 run beside Snakemake, others are grouped"
    assert "rule_mine_mine_concepts_mine_negatives" in comments
    assert ran.count("localrule ") == 12 + 1  # with `all`
    assert project.rules_run("-n") == {}


def test_a_job_that_needs_more_memory_gets_it_at_the_second_attempt(slurm, tmp_path):
    project = SlurmProject(make_project(tmp_path / "project").folder, slurm)
    project.edit(PROFILE, "2000 + 3 * input.size_mb) * attempt", "500 + input.size_mb) * attempt")
    script = project.folder / "workflow_scripts/build_corpus.py"
    script.write_text(BALLAST + script.read_text())
    project.run(CORPUS)
    jobs = [(state, memory) for _, state, memory, *_ in project.jobs()]
    assert jobs == [("FAILED", "500M"), ("COMPLETED", "1000M")]
    assert (project.folder / CORPUS).exists()


def test_a_training_that_runs_out_of_time_goes_on_from_its_state(slurm, finished, tmp_path):
    project = SlurmProject(finished.copy(tmp_path / "project").folder, slurm)
    project.edit(PROFILE, 'attempt)"\n    runtime: "1440 * attempt"', 'attempt)"\n    runtime: 1')
    job = project.folder / "workflow_scripts/lib/job.py"
    job.write_text(job.read_text() + STOPS_ONCE)
    (project.folder / TEMI).unlink()
    project.run(TEMI)
    assert [state for _, state, *_ in project.jobs()] == ["TIMEOUT", "COMPLETED"]
    assert filecmp.cmp(project.folder / TEMI, finished.folder / TEMI, shallow=False)
    log = (project.folder / "results/logs/cluster/tinyclip/photos/temi_3/seed0.log").read_text()
    assert "step 3:" not in log  # the end of the first epoch


def test_jobs_ask_for_the_gpus_that_there_are(finished, tmp_path):
    """A job for one, and three jobs beside each other for no more than a node has."""
    project = finished.copy(tmp_path / "project")
    scores = sorted((project.folder / "results/scores/mini").rglob("*.parquet"))
    for file in [project.folder / SHARD, *scores]:
        file.unlink()
    targets = [str(file.relative_to(project.folder)) for file in scores]
    assert len(targets) == 3
    with cluster.running(tmp_path / "slurm", gpus=2) as environment:
        project = SlurmProject(project.folder, environment)
        project.run(SHARD)
        ((_, state, _, _, gpus, comment),) = project.jobs()
        assert (state, gpus) == ("COMPLETED", "gres:gpu:1")
        assert comment.startswith("rule_embed_images_")
        project.run(*targets)
        groups = {(state, gpus) for _, state, _, _, gpus, _ in project.jobs()[1:]}
        assert groups == {("COMPLETED", "gres:gpu:2")}
    for file in [SHARD, *targets]:
        assert filecmp.cmp(project.folder / file, finished.folder / file, shallow=False)


@pytest.fixture
def endless(slurm, finished, tmp_path):
    """A project with a job in SLURM that does not end, and its main process."""
    project = SlurmProject(finished.copy(tmp_path / "project").folder, slurm)
    job = project.folder / "workflow_scripts/lib/job.py"
    job.write_text(job.read_text() + STOPS_ONCE)
    (project.folder / TEMI).unlink()
    main = project.start(TEMI)
    wait_for((project.folder / "stopped").exists, 120)
    yield project, main
    for number, *_ in project.jobs("running,pending"):
        subprocess.run(["scancel", number], env=os.environ | slurm, check=True)


def test_ctrl_c_leaves_nothing_running(endless):
    project, main = endless
    os.killpg(main.pid, signal.SIGINT)
    assert main.wait(timeout=120) != 0
    wait_for(lambda: not project.jobs("running,pending,completing"), 60)
    wait_for(lambda: not project.processes(), 60)


def test_a_new_run_ends_while_jobs_of_a_killed_one_are_in_the_queue(endless, finished, slurm):
    project, main = endless
    main.kill()
    main.wait()
    ((number, *_),) = project.jobs("running")
    done = project.run(TEMI, check=False)
    assert done.returncode == 1
    assert f"not over: wait for them, or end them with `scancel {number}`" in done.stdout
    assert len(project.jobs()) == 1
    subprocess.run(["scancel", number], env=os.environ | slurm, check=True)
    wait_for(lambda: not project.processes(), 60)
    project.run(TEMI)
    assert filecmp.cmp(project.folder / TEMI, finished.folder / TEMI, shallow=False)
