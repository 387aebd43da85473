"""The same inputs give the same bytes: runs of one project in other circumstances are compared.

Results that hold paths or times are left out (`HOLD_TIMES` in projects.py). Where bytes cannot be
the same, with other numeric kernels or another number of threads, tables agree within TOLERANCE.
"""

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from campaign import Case, main
from projects import artifacts_of, make_project

TITLE = "Sameness"
FOUND = {
    "another Python gave tables another digest of the code, and re-ran everything": (
        "unit/test_digest.py::test_versions_of_python_give_the_same_text"
    ),
    "another Python got another NumPy from the lock": (
        "unit/test_digest.py::test_the_lock_has_the_same_packages_for_several_versions_of_python"
    ),
}

OTHER_PYTHON = "python3.13"
TOLERANCE = 0.02  # of AUROC and FPR95; with 12 and 10 images a pair of images is .008
OTHER_KERNELS = {"OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "default"}
OOD = "results/tables/ood.parquet"


@functools.cache
def undisturbed():
    """The project to compare with, after a complete run on one core."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-sameness-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    project = make_project(folder / "project")
    project.run("--cores", "1")
    return project


def differences(project):
    """Paths of the results that are not the same bytes as those of the undisturbed run."""
    expected, found = artifacts_of(undisturbed()), artifacts_of(project)
    return [path for path in sorted(expected | found) if expected.get(path) != found.get(path)]


def assert_same(project):
    differing = differences(project)
    assert not differing, f"{len(differing)} files differ: {differing}"


def same_bytes(change=lambda project: None, cores=1, **environment):
    """A check: a run from nothing, of a project changed like this, gives the same bytes."""

    def check(folder):
        project = make_project(folder / "another folder")
        project.environment |= environment
        change(project)
        project.run("--cores", str(cores))
        assert_same(project)

    return check


def again(folder):
    """The project runs once more from nothing, in its folder."""
    project = undisturbed().copy(folder / "project")
    shutil.rmtree(project.folder / "results")
    shutil.rmtree(project.folder / ".snakemake")
    project.run("--cores", "1")
    assert_same(project)


def written_backwards(project):
    """Write all images again, last first: folders list them in another order."""
    for file in sorted((project.folder / "photos").rglob("*.png"), reverse=True):
        shutil.copy2(file, file.with_name("new"))
        file.unlink()
        file.with_name("new").rename(file)


@functools.cache
def python_environment():
    """The locked packages for another version of Python; its interpreter."""
    folder = Path(tempfile.mkdtemp(prefix="sameness-python-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    python = folder / "bin/python"
    lock = Path(__file__).parents[2] / "envs/requirements.txt"
    subprocess.run([OTHER_PYTHON, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)
    install = ["uv", "pip", "install", "--quiet", "--python", python, "--requirement", lock]
    subprocess.run([python, "-m", *install], check=True)
    return python


def other_python(folder):
    """The other Python runs the workflow and all its jobs."""
    project = make_project(folder / "project")
    project.python = python_environment()
    project.run("--cores", "1")
    assert_same(project)


def near(change=lambda project: None, cores=1, **environment):
    """A check: a run gives AUROC and FPR95 within the tolerance."""

    def check(folder):
        project = make_project(folder / "project")
        project.environment |= environment
        change(project)
        project.run("--cores", str(cores), OOD)
        expected, found = (pd.read_parquet(p.folder / OOD) for p in (undisturbed(), project))
        keys = ["ood_set", "group", "clustering", "mining", "detector", "negatives", "seed"]
        assert expected[keys].equals(found[keys])
        for column in ("auroc", "fpr95"):
            gap = np.abs(expected[column] - found[column]).max()
            assert gap <= TOLERANCE, f"{column} differs by {gap:.4f}"

    return check


def two_threads(project):
    config = project.read_config()
    for block in config["clusterings"].values():
        block["threads"] = 2
    project.write_config(config)


def works(python):
    """Whether a Python of this name can be run."""
    return shutil.which(python) and not subprocess.run([python, "-c", ""], check=False).returncode


def cases(short, seed):
    """None in short: test_inputs.py compares such runs where it runs the workflow anyway."""
    if short:
        return []
    found = [
        Case("a second run in the same circumstances", again),
        Case("another folder, with a space in its name", same_bytes()),
        Case("two cores", same_bytes(cores=2)),
        Case("images written in another order", same_bytes(written_backwards)),
        Case("another language", same_bytes(LC_ALL="C", LANG="C")),
        Case("another time zone", same_bytes(TZ="Asia/Kathmandu")),
        Case("another seed of hashes", same_bytes(PYTHONHASHSEED="7")),
        Case("other numeric kernels, within the tolerance", near(**OTHER_KERNELS)),
        Case("two threads, within the tolerance", near(two_threads, cores=2, OMP_NUM_THREADS="2")),
    ]
    return found + ([Case(OTHER_PYTHON, other_python)] if works(OTHER_PYTHON) else [])


if __name__ == "__main__":
    main(TITLE, cases)
