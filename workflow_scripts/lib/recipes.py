"""Recipes: digests of all that decides what a file of the workflow contains.

The recipe of a file is that of the job that makes it: the rule, its wildcards and its params. Every
rule has the param `above`, the recipes of its inputs. So a recipe reaches up to the config, the
code and the user's files, and a change of any of them changes the params of every job below.

Snakemake compares params with those that a file was made with. A change whose jobs failed is
therefore not forgotten: the tables below still have the params of the old state.
"""

import hashlib
import json

from snakemake.iocontainers import Wildcards
from snakemake.output_index import OutputIndex


class Recipes:
    """The recipes of a workflow's files.

    workflow: Snakemake's, with all rules defined when the first recipe is asked for.
    source_digest: function (path) -> digest of a file that no rule makes.
    """

    def __init__(self, workflow, source_digest):
        self._workflow = workflow
        self._source_digest = source_digest
        self._index = None
        self._of_file, self._above = {}, {}

    def of_file(self, path):
        """The recipe of a file, 12 hex digits; of the user's own files a digest of the content."""
        if path not in self._of_file:
            self._of_file[path] = self._recipe(path)
        return self._of_file[path]

    def above(self, rule):
        """Params function of a rule: name of each input -> digest of the recipes of its files.

        Inputs marked `ancient` are left out: the rule's config says what is in them.
        """
        return lambda wildcards: self._recipes_above(rule, wildcards)

    def _recipe(self, path):
        self._index = self._index or OutputIndex(self._workflow.rules)
        rules = self._index.match_producers(path)
        if not rules:
            return self._source_digest(path)[:12]
        rule = min(rules, key=lambda rule: rule.name)  # one, but for an error that Snakemake names
        wildcards = Wildcards(fromdict=rule.get_wildcards(path))
        params = {
            name: value(wildcards) if callable(value) else value
            for name, value in rule.params.items()
        }
        return digest([rule.name, dict(wildcards.items()), params])

    def _recipes_above(self, rule, wildcards):
        key = (rule, *wildcards.items())
        if key not in self._above:
            inputs, *_ = self._workflow.get_rule(rule).expand_input(wildcards)
            found = {}
            for name, files in inputs.items():
                files = [files] if isinstance(files, str) else files
                recipes = [self.of_file(str(file)) for file in files if not file.is_ancient]
                if recipes:
                    found[name] = digest(recipes)
            self._above[key] = found
        return self._above[key]


def digest(value):
    """Digest of a nested value of builtins, 12 hex digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
