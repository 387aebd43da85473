"""Digests of code: what a job runs, so that a change of it re-runs the job and nothing else does.

A digest covers a script, every module of this repository that it imports, directly or through
others, and the versions of the packages that decide numbers, as far as these files import them.
Code counts as syntax: comments, docstrings, layout and file times change no digest.

A method that is loaded by name (`importlib`) is no import, so the rules name its module beside the
script: an edit of one clustering then re-runs that clustering alone.
"""

import ast
import functools
import hashlib
import importlib.metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "workflow_scripts"
UNCOUNTED = (SCRIPTS / "lib/job.py",)  # logging, progress and cards, which no result shows
# Package as it is imported -> the distributions that bring it.
PACKAGES = {
    "PIL": ("pillow",),
    "array_api_compat": ("array-api-compat",),
    "bokeh": ("bokeh",),
    "faiss": ("faiss-gpu", "faiss-cpu"),
    "numpy": ("numpy",),
    "open_clip": ("open_clip_torch",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn",),
    "textblob": ("textblob",),
    "timm": ("timm",),
    "torch": ("torch",),
    "torchvision": ("torchvision",),
}


@functools.cache
def code_digest(script, *modules):
    """What a job runs, as text: the script's name and a digest of 12 hex digits.

    script: its name without .py, in workflow_scripts. modules: further modules that it loads by
    name, as paths below workflow_scripts/lib, e.g. "clustering/temi", and files that it reads, with
    their ending, e.g. "explore/templates/page.css"; these count as text.
    """
    named = [module if "." in module else f"{module}.py" for module in modules]
    files = [SCRIPTS / f"{script}.py", *(SCRIPTS / "lib" / name for name in named)]
    digest = hashlib.sha256()
    packages = set()
    for file in sorted(files_of(files)):
        text, _, used = parsed(file)
        digest.update(f"{file.relative_to(ROOT)}\n{text}\n".encode())
        packages |= used
    for package in sorted(packages):
        digest.update(f"{package} {version_of(package)}\n".encode())
    return f"{script}@{digest.hexdigest()[:12]}"


def files_of(files):
    """These files and all files of the repository that they import, directly or through others."""
    seen, todo = set(), list(files)
    while todo:
        file = todo.pop()
        if file not in seen and file not in UNCOUNTED:
            seen.add(file)
            todo.extend(parsed(file)[1])
    return seen


@functools.cache
def parsed(file):
    """A file as (its code as text, the files it imports, the PACKAGES it imports)."""
    if file.suffix != ".py":
        return file.read_text("utf-8"), [], set()
    tree = ast.parse(file.read_text("utf-8"))
    names = set(imported_names(tree, file))
    files = {found for name in names for found in files_named(name)}
    packages = {name.partition(".")[0] for name in names} & PACKAGES.keys()
    return structure(without_docstrings(tree)), sorted(files), packages


def structure(node):
    """A syntax tree as text, the same in all versions of Python: ast.unparse quotes f-strings by
    version, ast.dump has fields that others lack. What is None or empty is left out."""
    if isinstance(node, list):
        return f"[{', '.join(map(structure, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({', '.join(f'{n}={structure(v)}' for n, v in fields)})"


def imported_names(tree, file):
    """Dotted names of all that a syntax tree imports, at any depth; modules and what is in them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = file.relative_to(ROOT).parts[: -node.level]
                module = ".".join([*package, *filter(None, [module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def files_named(name):
    """The files of a module of this repository and of the packages it is in; none for others."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        stem = ROOT.joinpath(*parts[:end])
        yield from (f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file())


def without_docstrings(tree):
    """The syntax tree without its docstrings, which do not change what the code does."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@functools.cache
def version_of(package):
    """The version of the first installed distribution that brings a package, or "absent"."""
    for distribution in PACKAGES[package]:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "absent"
