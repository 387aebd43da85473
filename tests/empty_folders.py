"""A queue for tests: every job starts in a folder of its own, with the workflow and no results.

For Snakemake's executor cluster-generic, which runs `submit QUEUE SCRIPT` (prints a job's id) and
`status QUEUE ID`. QUEUE/sources is what a job starts with: other executors, as that of Kubernetes,
bring the files that git tracks to the nodes. The output of a job is QUEUE/ID.log.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from projects import CODE

FILE = Path(__file__).resolve()
ONLY_CODE = shutil.ignore_patterns("results", ".snakemake", "photos", "*.txt", "__pycache__")


def send_jobs(project, queue):
    """Give a queue the project's sources; returns options of Snakemake that send all jobs to it."""
    shutil.copytree(project.folder, queue / "sources", ignore=ONLY_CODE)
    assert {path.name for path in (queue / "sources").iterdir()} == {*CODE, "mini.yaml"}
    folder = Path(sys.executable).parent
    project.environment["PATH"] = f"{folder}:{os.environ['PATH']}"  # jobs run `python`
    script = f"{sys.executable} {FILE}"
    return [
        "--executor", "cluster-generic", "--jobs", "2", "--shared-fs-usage", "none",
        "--cluster-generic-submit-cmd", f"{script} submit {queue}",
        "--cluster-generic-status-cmd", f"{script} status {queue}",
        "--seconds-between-status-checks", "1",
    ]  # fmt: skip


def submit(queue, script):
    name = f"{len(list(queue.glob('*.sh'))):03d}"
    shutil.copytree(queue / "sources", queue / name)
    shutil.copyfile(script, queue / f"{name}.sh")
    command = f"sh ../{name}.sh > ../{name}.log 2>&1; echo $? > ../{name}.new; "
    command += f"mv ../{name}.new ../{name}.rc"
    nothing = subprocess.DEVNULL
    subprocess.Popen(
        ["sh", "-c", command], cwd=queue / name, start_new_session=True,
        stdin=nothing, stdout=nothing, stderr=nothing,
    )  # fmt: skip
    return name


def status(queue, name):
    done = queue / f"{name}.rc"
    code = done.read_text().strip() if done.exists() else "none"
    return {"none": "running", "0": "success"}.get(code, "failed")


if __name__ == "__main__":
    action, queue, what = sys.argv[1:]
    print({"submit": submit, "status": status}[action](Path(queue), what))
