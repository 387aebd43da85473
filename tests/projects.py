"""A miniature project: a copy of the workflow, three small image folders and a small config."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
CODE = ["Snakefile", "rules", "workflow_scripts", "config", "envs", "profiles"]
HOLD_TIMES = (
    "hashes.parquet",
    "state.json",
    "sources.json",
    ".snakemake_timestamp",
    ".cost.json",
    "provenance.html",
)
RAN = re.compile(r"^(?:local)?rule (\w+):$", re.MULTILINE)

MINI = {
    "run": ["mini"],
    "studies": {
        "mini": {
            "encoders": ["tinyclip"],
            "corpus": "words",
            "train": "photos",
            "test": "photos_test",
            "far": ["strange"],
            "clusterings": ["kmeans_3", "temi_3"],
            "minings": ["clustermine", "frequency_1"],
            "negatives": ["rest"],
            "detectors": ["mcm", "neglabel"],
            "seeds": [0],
        }
    },
    "image_sets": {
        "photos": {"folder": "photos/train", "shards": 2},
        "photos_test": {"folder": "photos/test"},
        "strange": {"folder": "photos/strange"},
        "stranger": {"folder": "photos/stranger"},
    },
    "corpora": {"words": {"files": [{"path": "words.txt"}]}},
    "clusterings": {
        "kmeans_3": {
            "method": "kmeans", "k": 3, "restarts": 2, "iterations": 9,
            "precision": "float32", "threads": 1,
        },
        "temi_3": {
            "method": "temi", "k": 3, "neighbours": 3, "heads": 2, "hidden": 16, "bottleneck": 8,
            "steps": 40, "warmup_steps": 4, "batch_size": 8, "threads": 1,
        },
    },
    "detectors": {"neglabel": {"method": "neglabel", "groups": 2}},
}  # fmt: skip

WORDS = ["solid red circle", "solid blue square", "striped green star", "disc", "box", "pentagram"]
WORDS += ["solid red square", "solid blue circle", "dotted green ring", "table", "river", "happy"]


class Project:
    """A folder with the workflow, its inputs and its results."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        self.python = sys.executable

    def write_config(self, config):
        (self.folder / "mini.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def read_config(self):
        return yaml.safe_load((self.folder / "mini.yaml").read_text())

    def command(self, *arguments):
        snakemake = Path(self.python).with_name("snakemake")
        return [snakemake, *arguments, "--configfile", "mini.yaml"]

    def run(self, *arguments, check=True):
        """Run Snakemake; return the finished process with its output."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=os.environ | self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done

    def rules_run(self, *arguments):
        """Run Snakemake; return how often each rule ran (or with -n would run)."""
        ran = Counter(RAN.findall(self.run(*arguments).stdout))
        ran.pop("all", None)
        return dict(ran)

    def copy(self, folder):
        """A copy with all file times kept, as if it were the same project."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def artifacts_of(project):
    """Bytes of every artifact of a run by its path, logs and pictures of the demo left out."""
    results = project.folder / "results"
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in sorted(results.rglob("*"))
        if path.is_file()
        and path.relative_to(results).parts[0] not in {"logs", "demo"}
        and not path.name.endswith(HOLD_TIMES)
    }


def jobs_of(project):
    """PID -> script of the project's jobs that run now."""
    jobs = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            here = (folder / "cwd").resolve() == project.folder.resolve()
        except OSError:
            continue
        script = next((word for word in words if b".snakemake/scripts/" in word), None)
        if here and script:
            jobs[int(folder.name)] = script.decode().rsplit(".", 2)[-2]
    return jobs


def draw_set(folder, concepts, per_concept, seed):
    """Render a few images of each concept into class folders."""
    import numpy as np
    from PIL import Image

    from workflow_scripts.lib.demo import drawing

    for concept in concepts:
        class_folder = Path(folder, "_".join(concept))
        class_folder.mkdir(parents=True)
        for i in range(per_concept):
            image = drawing.draw_concept(concept, np.random.default_rng([seed, i]))
            pixels = drawing.to_uint8(image).transpose(1, 2, 0)
            Image.fromarray(pixels).save(class_folder / f"{i:03d}.png")


def make_project(folder):
    folder.mkdir()
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    known = [("solid", "red", "circle"), ("solid", "blue", "square"), ("striped", "green", "star")]
    other = [("dotted", "green", "ring"), ("solid", "pink", "heart")]
    draw_set(folder / "photos/train", known, 8, seed=1)
    draw_set(folder / "photos/test", known, 4, seed=2)
    draw_set(folder / "photos/strange", other, 5, seed=3)
    draw_set(folder / "photos/stranger", other, 3, seed=4)
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n")
    project = Project(folder)
    project.write_config(MINI)
    return project


# Text that would break a page or run in it. A folder name may end in "<", so that an id has "</".
HOSTILE = {
    "solid_red_circle": "<script>alert('a')<",
    "solid_blue_square": "\"quoted\" & 'so'",
    "striped_green_star": "דג قط 🦊",
    "dotted_green_ring": "<img src=x onerror=alert(1)>",
    "solid_pink_heart": "{{7*7}} `${alert(2)}` @{image_id}",
}


def make_hostile_project(folder):
    """A calibrated project where labels, file names and names of concepts are HOSTILE."""
    project = make_project(folder)
    for image_set in ("train", "test", "strange", "stranger"):
        for name, hostile in HOSTILE.items():
            if (images := folder / "photos" / image_set / name).exists():
                images = images.rename(images.with_name(hostile))
                (images / "000.png").rename(images / 'script>💥".png')
    words = [
        f"{word} {HOSTILE.get(word.replace(' ', '_'), '<img src=x onerror=alert(2)>')}"
        for word in WORDS
    ]
    (folder / "words.txt").write_text("\n".join(words) + "\n", "utf-8")
    config = project.read_config()
    config["studies"]["mini"] |= {
        "calibrate": {"share": 0.25}, "false_alarm_rate": 0.2, "clusterings": ["kmeans_3"],
        "minings": ["clustermine"],
    }  # fmt: skip
    project.write_config(config)
    return project
