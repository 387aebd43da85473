"""CPU seconds of a run that finds nothing to do, beside those of a Snakefile of one rule.

    OMP_NUM_THREADS=1 .venv/bin/python tests/benchmarks/noop.py

The workflow runs the miniature study of the tests, which is made first. The digests of the code are
timed by themselves. No test looks at these numbers.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from machine import cpu_seconds, processor, used
from projects import make_project

from workflow_scripts.lib import digest

ROUNDS = 5
ONE_RULE = """
rule a:
    output: "there"
    shell: "touch there"

rule all:
    default_target: True
    input: "there"
"""


def least(run):
    """The least CPU seconds of the processes that a call starts."""
    found = []
    for _ in range(ROUNDS):
        before = used(RUSAGE_CHILDREN)
        run()
        found.append(used(RUSAGE_CHILDREN) - before)
    return min(found)


def one_rule(folder):
    (folder / "Snakefile").write_text(ONE_RULE)
    snakemake = Path(sys.executable).with_name("snakemake")
    command = [snakemake, "--cores", "1", "--quiet", "--directory", folder]
    return lambda: subprocess.run(
        [*command, "--snakefile", folder / "Snakefile"], check=True, capture_output=True
    )


def main():
    with tempfile.TemporaryDirectory() as folder:
        project, one = make_project(Path(folder, "mini")), one_rule(Path(folder))
        project.run("--cores", "2")
        one()
        seconds = {
            "a Snakefile of one rule": least(one),
            "the miniature study": least(lambda: project.run("--cores", "1")),
        }
    seconds["digests of all code, by themselves"] = cpu_seconds(
        lambda: [digest.parsed(file) for file in sorted(digest.SCRIPTS.rglob("*.py"))]
    )
    base = seconds["a Snakefile of one rule"]
    print(f"{processor()}; least of {ROUNDS} rounds\n")
    print("| nothing to be done | CPU s | of one rule's |\n| --- | ---: | ---: |")
    for name, spent in seconds.items():
        print(f"| {name} | {spent:.2f} | {spent / base:.2f} |")
    print()


if __name__ == "__main__":
    main()
