"""The digest of code: it changes when what a job runs does, and only then."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workflow_scripts.lib import digest

FILES = {
    "workflow_scripts/__init__.py": "",
    "workflow_scripts/work.py": "from workflow_scripts.lib.room import tool\n\ntool.f()\n",
    "workflow_scripts/lib/__init__.py": "",
    "workflow_scripts/lib/job.py": "import logging\n",
    "workflow_scripts/lib/room/__init__.py": "",
    "workflow_scripts/lib/room/tool.py": "import numpy\nfrom . import part\nfrom ..job import x\n",
    "workflow_scripts/lib/room/part.py": '"""Part."""\n\nX = 1\n',
    "workflow_scripts/lib/room/by_name.py": "import timm\n\nY = 1\n",
    "workflow_scripts/lib/room/other.py": "Z = 1\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(digest, "ROOT", tmp_path)
    monkeypatch.setattr(digest, "SCRIPTS", tmp_path / "workflow_scripts")
    monkeypatch.setattr(digest, "UNCOUNTED", (tmp_path / "workflow_scripts/lib/job.py",))
    return tmp_path


def digest_now(*modules):
    digest.code_digest.cache_clear()
    digest.parsed.cache_clear()
    digest.version_of.cache_clear()
    return digest.code_digest("work", *modules)


def append(project, name, text):
    with (project / "workflow_scripts" / name).open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("work.py", True),
        ("lib/room/tool.py", True),  # imported by its full name
        ("lib/room/part.py", True),  # imported relatively, by an imported module
        ("lib/room/__init__.py", True),  # importing a module runs the packages it is in
        ("lib/room/by_name.py", False),
        ("lib/room/other.py", False),
        ("lib/job.py", False),  # logging
    ],
)
def test_code_that_runs_is_seen(project, name, seen):
    before = digest_now()
    append(project, name, "UNUSED = 1\n")
    assert (digest_now() != before) == seen


def test_a_method_loaded_by_name_is_named_beside_the_script(project):
    before = digest_now("room/by_name")
    assert before != digest_now()
    append(project, "lib/room/by_name.py", "UNUSED = 1\n")
    assert digest_now("room/by_name") != before


def test_a_file_that_is_read_counts_as_text(project):
    page = project / "workflow_scripts/lib/room/page.html"
    page.write_text("<p>one</p>")
    before = digest_now("room/page.html")
    assert before != digest_now()
    page.write_text("<p>two</p>")
    assert digest_now("room/page.html") != before


def test_comments_docstrings_layout_and_times_do_not_count(project):
    before = digest_now()
    part = project / "workflow_scripts/lib/room/part.py"
    part.write_text('"""Another docstring."""\n# A remark.\nX   =  1\n')
    assert digest_now() == before
    part.write_text("X = 2\n")
    assert digest_now() != before


@pytest.mark.parametrize(
    ("package", "modules", "seen"),
    [("numpy", [], True), ("timm", [], False), ("timm", ["room/by_name"], True)],
)
def test_versions_of_the_packages_that_a_job_uses_count(
    project, monkeypatch, package, modules, seen
):
    before = digest_now(*modules)
    version = digest.importlib.metadata.version
    monkeypatch.setattr(
        digest.importlib.metadata,
        "version",
        lambda name: "99" if name == digest.PACKAGES[package][0] else version(name),
    )
    assert (digest_now(*modules) != before) == seen


def test_a_missing_package_is_absent(monkeypatch):
    monkeypatch.setitem(digest.PACKAGES, "nowhere", ("no-such-distribution",))
    assert digest.version_of("nowhere") == "absent"


def test_it_names_the_script_and_is_short(project):
    name, _, digits = digest_now().partition("@")
    assert name == "work"
    assert len(digits) == 12


def test_no_script_of_this_repository_imports_what_its_rule_should_name():
    """Clusterings, encoders and containers are loaded by name: their dispatchers import none."""
    own = {
        "cluster": "clustering/{kmeans,minibatch,temi,scan,turtle}",
        "embed_images": "encoders/{open_clip,timm}",
        "embed_texts": "encoders/{open_clip,timm}",
        "list_images": "images/{folder,list,tar,parquet}",
        "build_corpus": "texts/sources/{names,synset_mapping,captions,wordnet}",
    }
    scripts = Path(digest.SCRIPTS)
    for script, pattern in own.items():
        room, _, names = pattern.rpartition("/")
        methods = {scripts / f"lib/{room}/{name}.py" for name in names.strip("{}").split(",")}
        assert all(method.is_file() for method in methods), script
        assert not methods & digest.files_of([scripts / f"{script}.py"]), script


def test_versions_of_python_give_the_same_text():
    """ast.unparse of Python 3.13 writes f'{a['b']}', that of 3.11 other quotes; ast.dump of 3.12
    has `type_params`."""
    tree = digest.ast.parse("def f(a):\n    return f\"{a['b']}\"\n")
    assert digest.structure(tree.body) == (
        "[FunctionDef(name='f', args=arguments(args=[arg(arg='a')]), body=[Return("
        "value=JoinedStr(values=[FormattedValue(value=Subscript(value=Name(id='a', ctx=Load()), "
        "slice=Constant(value='b'), ctx=Load()), conversion=-1)]))])]"
    )


def test_the_lock_has_the_same_packages_for_several_versions_of_python():
    """Else their digests, and with them all results, would differ."""
    text = (digest.ROOT / "envs/requirements.txt").read_text("utf-8")
    locked = [Requirement(line.rstrip(" \\")) for line in re.findall("^[a-z].*==.*", text, re.M)]
    counted = {canonicalize_name(name) for names in digest.PACKAGES.values() for name in names}
    versions = [
        {
            one.name: str(one.specifier)
            for one in locked
            if canonicalize_name(one.name) in counted
            and (not one.marker or one.marker.evaluate({"python_full_version": python}))
        }
        for python in ("3.11.0", "3.12.0", "3.13.0")
    ]
    assert {"numpy", "scipy", "torch"} <= versions[0].keys()
    assert versions[0] == versions[1] == versions[2]
