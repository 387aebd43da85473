"""Whole runs with all results in a storage: a folder, and S3 as moto serves it on this machine."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from empty_folders import send_jobs

FOR_S3 = ("moto", "flask_cors", "snakemake_storage_plugin_s3")
missing = [name for name in FOR_S3 if not importlib.util.find_spec(name)]
needs_s3 = pytest.mark.skipif(bool(missing), reason=f"needs {missing}: make test-storage")
needs_rsync = pytest.mark.skipif(not shutil.which("rsync"), reason="the plugin copies by rsync")
# Records of the machine that Snakemake runs on, which no job makes, and what tells of times.
LOCAL = ("hashes.parquet", "state.json", "sources.json")
TIMES = ("provenance.html", ".cost.json", ".log", ".snakemake_timestamp")


def results_of(project):
    """Path -> bytes of what a run in a folder made and every other one makes alike."""
    files = [path for path in (project.folder / "results").rglob("*") if path.is_file()]
    names = {path.relative_to(project.folder).as_posix(): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if not name.endswith((*LOCAL, *TIMES))
    }


@pytest.fixture
def project(finished, tmp_path):
    """The project of `finished` before its run."""
    copy = finished.copy(tmp_path / "project")
    for folder in ("results", ".snakemake"):
        shutil.rmtree(copy.folder / folder)
    return copy


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def s3(project):
    """The address of a server, for whose buckets the project gets keys."""
    port, keys = free_port(), ("ACCESS_KEY", "SECRET_KEY")
    project.environment |= {f"SNAKEMAKE_STORAGE_S3_{key}": "test" for key in keys}
    project.environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL
    ) as server:
        for _ in range(300):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


def bucket_options(address):
    return [
        "--default-storage-provider", "s3", "--default-storage-prefix", "s3://bucket",
        "--storage-s3-endpoint-url", address,
    ]  # fmt: skip


def objects(address):
    """Name -> bytes of all that is in the bucket."""
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket")
    names = [entry["Key"] for page in pages for entry in page["Contents"]]
    return {name: client.get_object(Bucket="bucket", Key=name)["Body"].read() for name in names}


@needs_rsync
def test_jobs_in_empty_folders_make_the_same_results(finished, project, tmp_path):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    stored = ["--default-storage-provider", "fs", "--default-storage-prefix", str(bucket)]
    project.run(*stored, *send_jobs(project, tmp_path / "queue"))
    assert len(list((tmp_path / "queue").glob("*.rc"))) > 20
    made = results_of(type(project)(bucket))
    assert made == results_of(finished)
    assert project.rules_run("-n", *stored) == {}


@needs_s3
def test_results_in_s3_are_the_same(finished, project, s3):
    project.run("--cores", "2", *bucket_options(s3))
    made, expected = objects(s3), results_of(finished)
    assert {name: made.get(name) for name in expected} == expected
    assert project.rules_run("-n", *bucket_options(s3)) == {}


@needs_s3
def test_jobs_in_empty_folders_read_and_write_s3(finished, project, s3, tmp_path):
    graph = "results/neighbours/tinyclip/photos/k3.npy"
    project.environment["SNAKEMAKE_STORAGE_S3_ENDPOINT_URL"] = s3
    project.run(graph, *bucket_options(s3), *send_jobs(project, tmp_path / "queue"))
    assert len(list((tmp_path / "queue").glob("*.rc"))) == 1
    assert objects(s3)[graph] == (finished.folder / graph).read_bytes()
