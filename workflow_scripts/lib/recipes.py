"""Recipes: digests of all that decides what a file of the workflow contains.

The recipe of a file is that of the job that makes it: the rule, its wildcards and its params. Every
rule has the param `above`, the recipes of its inputs. So a recipe reaches up to the config, the
code and the user's files, and a change of any of them changes the params of every job below.

Snakemake compares params with those that a file was made with. A change whose jobs failed is
therefore not forgotten: the tables below still have the params of the old state.
"""

import contextlib
import hashlib
import json
import os
from base64 import urlsafe_b64decode
from pathlib import Path

from snakemake.io import ancient, apply_wildcards, flag, is_callable, is_flagged
from snakemake.iocontainers import Wildcards
from snakemake.output_index import OutputIndex


def notes_are_lost(notes=".snakemake", results="results"):
    """Whether there are results, but nothing that Snakemake noted of how they were made.

    It would take them as they are, whatever has changed since.
    """
    for kind in ("metadata", "incomplete"):
        if any(file.is_file() for file in Path(notes, kind).rglob("*")):
            return False
    if any(Path(notes).glob("*.db")):  # another way of keeping the notes
        return False
    records = {"hashes.parquet"}  # of images, which are there before the notes
    return any(file.name not in records for file in Path(results).rglob("*.parquet"))


def files_without_notes(rules, notes=".snakemake", results="results"):
    """The files in results that rules make, but of which Snakemake noted nothing: a sorted list.

    It takes them as they are, too. [] if nothing at all is noted in files. rules: Snakemake's.
    """
    known = {path for kind in ("metadata", "incomplete") for path in _noted(Path(notes, kind))}
    found = []
    for folder, folders, files in os.walk(results if known else ""):
        inside = [name for name in folders if f"{folder}/{name}" not in known]  # not in a noted one
        folders[:] = [name for name in inside if name != "logs"]
        found += [path for path in (f"{folder}/{name}" for name in files) if path not in known]
    index = OutputIndex(rules)
    return sorted(path for path in found if index.match_producers(path))


def _noted(folder):
    """What the records below a folder are of; Snakemake writes their names in base64, in parts."""
    for place, _, names in os.walk(folder):
        start = "".join(part.removeprefix("@") for part in Path(place).relative_to(folder).parts)
        for name in names:
            with contextlib.suppress(ValueError):  # of what is no record
                yield urlsafe_b64decode(start + name).decode()


def in_config(path):
    """Mark an input whose content the rule's own `cfg` tells, so that `above` leaves it out."""
    return flag(path, "in_config")


def of_no_rule(files):
    """Files as inputs without the rules that make them, which Snakemake finds by a path as text.

    files: a path or a nested list of paths. All are marked `in_config` and `ancient`.
    """
    if not isinstance(files, str):
        return list(map(of_no_rule, files))
    return in_config(ancient(files.replace("/", "/./", 1)))


class Recipes:
    """The recipes of a workflow's files.

    workflow: Snakemake's, with all rules defined when the first recipe is asked for.
    source_digest: function (path) -> digest of a file that no rule makes.
    """

    def __init__(self, workflow, source_digest):
        self._workflow = workflow
        self._source_digest = source_digest
        self._index = None
        self._of_file, self._of_job, self._above = {}, {}, {}
        self._looking = set()  # at the inputs of these jobs

    def of_file(self, path):
        """The recipe of a file, 12 hex digits; of the user's own files a digest of the content."""
        if path not in self._of_file:
            made = self._as_made(path)
            rule = self._producer(made)
            self._of_file[path] = (
                self._of(rule, Wildcards(fromdict=rule.get_wildcards(made)))
                if rule
                else self._source_digest(path)[:12]
            )
        return self._of_file[path]

    def above(self, rule):
        """Params function of a rule: name of each input -> digest of the recipes of its files."""
        return lambda wildcards: self._recipes_above(rule, wildcards)

    def is_made(self, rule, wildcards):
        """Whether the files of a rule's job were last made with the params that it has now.

        Snakemake remembers the params of a job that failed, too: its first file must exist.
        For input functions, about their own rule. While the recipes above are worked out, which
        calls them too, the answer is no.
        """
        key = _key(rule, wildcards)
        if key in self._looking or not self._workflow.persistence:
            return False
        output = self._workflow.get_rule(rule).output[0].apply_wildcards(wildcards)
        made_with = self._workflow.persistence.params(output) if Path(output).exists() else None
        if made_with is None:
            return False
        params = params_of(self._workflow.get_rule(rule), wildcards)
        return sorted(made_with) == sorted(map(repr, params.values()))

    def _as_made(self, path):
        """A path as it is in the outputs of rules: another one, if a storage holds the results."""
        stored = self._workflow.storage_settings.default_storage_provider
        if not stored or not path.startswith("results/"):
            return path
        return str(self._workflow.modifier.path_modifier.apply_default_storage(path))

    def _producer(self, path):
        """The rule that makes a file, None for the user's own."""
        self._index = self._index or OutputIndex(self._workflow.rules)
        # One at most, but for an error in the rules, which Snakemake names.
        return min(self._index.match_producers(path), key=lambda rule: rule.name, default=None)

    def _of(self, rule, wildcards):
        key = _key(rule.name, wildcards)
        if key not in self._of_job:
            recipe = [rule.name, dict(wildcards.items()), params_of(rule, wildcards)]
            self._of_job[key] = digest(recipe)
        return self._of_job[key]

    def _recipes_above(self, rule, wildcards):
        key = _key(rule, wildcards)
        if key not in self._above:
            self._looking.add(key)
            inputs = list(inputs_of(self._workflow.get_rule(rule), wildcards))
            self._looking.remove(key)
            recipes = {}
            for name, path in inputs:
                recipes.setdefault(name, []).append(self.of_file(path))
            self._above[key] = {name: digest(found) for name, found in recipes.items()}
        return self._above[key]


def _key(rule, wildcards):
    return rule, *sorted(wildcards.items())


def params_of(rule, wildcards):
    """Name -> value of the params of a rule's job. Their functions take the wildcards alone."""
    return {
        name: value(wildcards) if callable(value) else value for name, value in rule.params.items()
    }


def inputs_of(rule, wildcards):
    """Yield (name, path) of the inputs of a rule's job, without those marked `in_config`.

    What `Rule.expand_input` gives, which makes an object of every path and would add a third to
    the time of a large dry run.
    """
    for name, item in rule.input._allitems():
        unpack = is_flagged(item, "unpack")
        if is_callable(item):
            value, _ = rule.apply_input_function(item, wildcards, is_unpack=unpack)
        else:
            value = apply_wildcards(item, wildcards)
        named = value.items() if unpack else [(name, value)]
        for own_name, files in named:
            for file in [files] if isinstance(files, str) else files:
                if not is_flagged(file, "in_config"):
                    yield own_name, str(file)


def digest(value):
    """Digest of a nested value of builtins, 12 hex digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
