"""Security: nothing that a user's files, names or downloads hold is run, leads out of its folder,
or changes without a word."""

import ast
import os
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
from campaign import Case, main
from inputs.containers import make_tar
from inputs.images import listed, picture
from inputs.names import name_cases
from inputs.outcomes import ending, refused

ROOT = Path(__file__).parent.parent.parent
TITLE = "Security"
FOUND = {
    "weights of a tag could change without a word": (
        "unit/encoders/test_hub.py::test_weights_of_a_tag_are_those_that_were_used_first"
    ),
    "pipes and devices among archives, tables and lists were read": (
        "unit/images/test_bad_containers.py::test_pipes_and_devices_are_not_read"
    ),
    "a name in a table in Markdown was a link or an image of a site": (
        "unit/report/test_names_in_markdown.py::"
        "test_a_hostile_name_in_a_table_is_what_a_reader_sees"
    ),
    "a name in the summary began a list or a heading where its line was wrapped": (
        "unit/report/test_names_in_markdown.py::test_a_hostile_name_in_a_sentence_begins_nothing"
    ),
    "locked packages had no hashes": (
        "test_campaigns.py::test_short_form[security: hashes in requirements.txt]"
    ),
    "an empty path of the config stood for the workflow's own folder": (
        "test_failures.py::test_a_path_that_cannot_be_read_is_named"
    ),
}
FORBIDDEN = {"eval", "exec", "compile", "os.system", "os.popen", "marshal.loads", "shelve.open"}
PICKLES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


def _called(node):
    """The name of a called function as it is written, "os.system"."""
    return ast.unparse(node.func)


def _arguments(node):
    return {word.arg: ast.unparse(word.value) for word in node.keywords}


def dangers(path):
    """What code that runs data looks like, in a Python file: a list of texts."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names}
            names |= {(getattr(node, "module", None) or "").partition(".")[0]}
            found += sorted(names & PICKLES)
        if isinstance(node, ast.Call):
            name, given = _called(node), _arguments(node)
            unsafe = name in FORBIDDEN or given.get("shell") == "True"
            unsafe |= name.endswith(("np.load", "np.save")) and given.get("allow_pickle") != "False"
            unsafe |= name == "torch.load" and given.get("weights_only") != "True"
            unsafe |= name == "yaml.load" and "LOADER" not in ast.unparse(node)
            found += [ast.unparse(node)] * unsafe
    return found


def no_code_runs_data(path):
    def check(_):
        assert not (found := dangers(path)), found

    return check


def no_shell_in_rules(path):
    def check(_):
        found = re.findall(r"^\s*(?:shell|run):", path.read_text("utf-8"), re.M)
        assert not found, found

    return check


class Payload:
    """What would make a folder if it were unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def pickled_array(folder):
    from workflow_scripts.lib.artifacts import read_array

    for suffix in ("npy", "npz"):
        path, array = folder / f"e.{suffix}", np.array([Payload(folder / "ran")], object)
        if suffix == "npy":
            np.save(path, array, allow_pickle=True)
        else:
            np.savez(path, a=array)
        refused(lambda path=path: read_array(path), path.name)
    (folder / "e.npy").write_bytes(pickle.dumps(Payload(folder / "ran")))
    refused(lambda: read_array(folder / "e.npy"), "e.npy")
    assert not (folder / "ran").exists()


def pickled_weights(method, model, name):
    def check(folder):
        import torch

        from workflow_scripts.lib.encoders.loading import load_encoder

        torch.save({"state_dict": Payload(folder / "ran")}, folder / name)
        block = {"method": method, "model": model, "pretrained": str(folder / name)}
        refused(lambda: load_encoder(block | {"device": "cpu"}, texts=False), "cannot be loaded")
        assert not (folder / "ran").exists(), "the pickle ran"

    return check


def member(kind, name, target="../../../etc/passwd"):
    """A tar with an image and one more member is listed without this one."""

    def check(folder):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        image = ("a.png", picture())
        content = picture() if kind == tarfile.REGTYPE else b""
        make_tar(folder / "x.tar", [image, (info, content)])
        rows, rejected = listed("tar", folder / "x.tar", folder)
        assert ([row["path"] for row in rows], len(rejected)) == (["a.png"], 1)
        assert not [path for path in folder.rglob("*") if path.name == "passwd"]

    return check


def listed_path(path):
    """A list does not read what lies outside of its root."""

    def check(folder):
        (folder / "root").mkdir()
        (folder / "root/a.png").write_bytes(picture())
        (folder / "secret.png").write_bytes(picture(1))
        (folder / "l.csv").write_text(f"path\na.png\n{path.format(folder=folder)}\n")
        rows, rejected = listed("list", folder / "l.csv", folder, root=folder / "root")
        assert ([row["path"] for row in rows], len(rejected)) == (["a.png"], 1)

    return check


def special_file(make):
    """A file in a folder that is no regular one is rejected unread, and counted as lost."""

    def check(folder):
        (folder / "set").mkdir()
        (folder / "set/a.png").write_bytes(picture())
        make(folder / "set/b.png")
        rows, rejected = listed("folder", folder / "set", folder)
        assert ([row["path"] for row in rows], len(rejected)) == (["a.png"], 1)
        assert rejected[0]["lost"]

    return check


def locked(name):
    """Every package of a lock file has one version and the hashes of its files."""

    def check(_):
        text = (ROOT / "envs" / name).read_text("utf-8")
        entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
        assert entries and not [e for e in entries if "--hash=sha256:" not in e or "==" not in e]
        make = (ROOT / "Makefile").read_text("utf-8")
        assert f"--require-hashes --requirement envs/{name}" in make

    return check


def changed_weights(folder):
    """A file of the hub that is another one than at first is refused by its pin."""
    from workflow_scripts.lib.encoders import hub

    path, token = folder / "w.bin", hub.PINS.set(folder / "pins")
    found, hub._found = hub._found, lambda *_: ("w.bin", path)
    try:
        path.write_bytes(b"first")
        assert ending(lambda: hub.hub_file("a/b", ["w.bin"], "The weights", "x")) is None
        path.write_bytes(b"other")
        refused(lambda: hub.hub_file("a/b", ["w.bin"], "The weights", "x"), "w.bin", "SHA-256")
    finally:
        hub._found = found
        hub.PINS.reset(token)


def cases(short, seed):
    files = sorted((ROOT / "workflow_scripts").rglob("*.py"))
    rules = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
    made = {f"code of {path.relative_to(ROOT)}": no_code_runs_data(path) for path in files}
    made |= {f"rules of {path.relative_to(ROOT)}": no_shell_in_rules(path) for path in rules}
    made["a pickle for an array"] = pickled_array
    made["a pickle for weights of open_clip"] = pickled_weights("open_clip", "ViT-B-32", "w.pt")
    made["a pickle for weights of timm"] = pickled_weights("timm", "test_vit.r160_in1k", "w.pth")
    kinds = {
        "symbolic link": tarfile.SYMTYPE,
        "hard link": tarfile.LNKTYPE,
        "device": tarfile.CHRTYPE,
        "block device": tarfile.BLKTYPE,
        "pipe": tarfile.FIFOTYPE,
    }
    made |= {f"tar with a {name}": member(kind, "b.png") for name, kind in kinds.items()}
    for name in ("../b.png", "/etc/b.png", "a/../../b.png", "..", "./../b.png"):
        made[f"tar with the name {name}"] = member(tarfile.REGTYPE, name)
    for path in ("../secret.png", "{folder}/secret.png", "x/../../secret.png", "/dev/zero"):
        made[f"list with the path {path}"] = listed_path(path)
    made["folder with a pipe"] = special_file(os.mkfifo)
    made["folder with a link to a device"] = special_file(lambda p: p.symlink_to("/dev/zero"))
    made["folder with a link to itself"] = special_file(lambda p: p.symlink_to(p))
    made["folder with a link to nothing"] = special_file(lambda p: p.symlink_to("/nowhere"))
    made |= name_cases()
    for name in ("requirements.txt", "requirements-dev.txt", "uv.txt"):
        made[f"hashes in {name}"] = locked(name)
    made["weights of a tag that changed"] = changed_weights
    return [Case(name, check) for name, check in made.items()]


if __name__ == "__main__":
    main(TITLE, cases)
