"""Train the tiny CLIP of the demo world and report its zero-shot accuracy."""

import json
import time
from pathlib import Path

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.demo import tinyclip
from workflow_scripts.lib.job import job


def train_tiny_clip(cfg, folder, report):
    """Train with the options `cfg` of `tinyclip.train`; write the checkpoint and a JSON report."""
    started = time.monotonic()
    losses = tinyclip.train(folder, **cfg)
    seconds = time.monotonic() - started
    figures = {
        "zero_shot_accuracy": tinyclip.zero_shot_accuracy(folder),
        "steps": len(losses),
        "final_loss": sum(losses[-50:]) / len(losses[-50:]),
        "seconds": round(seconds, 1),
    }
    write_text(report, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    with job(snakemake):
        train_tiny_clip(
            snakemake.params.cfg, Path(snakemake.output.model).parent, snakemake.output.report
        )
