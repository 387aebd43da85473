"""Miniature projects that tests share, made once for all workers, and a browser for pages."""

import shutil

import pytest
from detectors import store
from filelock import FileLock
from projects import Project, make_hostile_project, make_project

from workflow_scripts.lib.device import has_gpu

pytest_plugins = ["browser"]


def pytest_collection_modifyitems(items):
    """Tests that are marked `gpu` need a graphics card."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a graphics card"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id):
    """A function (name, make) that gives a project, made once for all workers of pytest-xdist.

    make: takes the folder of the new project. Copy the project before a change.
    """
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent

    def project(name, make):
        folder, done = base / name, base / f"{name}.done"
        with FileLock(base / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                done.touch()
        return Project(folder)

    return project


@pytest.fixture(scope="session")
def finished(shared):
    """The miniature project after a complete run. Copy it before a change."""
    return shared("finished", lambda folder: make_project(folder).run())


@pytest.fixture(scope="session")
def stored(finished, shared):
    """The miniature project with all detectors, and a detector stored. Copy it before a change."""
    return shared("stored", lambda folder: store(finished.copy(folder)))


@pytest.fixture(scope="session")
def hostile(shared):
    """The project of `make_hostile_project` after a complete run, for tests of pages."""
    return shared("hostile", lambda folder: make_hostile_project(folder).run())
