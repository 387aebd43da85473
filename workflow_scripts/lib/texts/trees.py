"""Concept trees: what is a kind of what, from WordNet's database files or a table child, parent.

The filters of negatives ask them for hyponyms and proper nouns, the evaluation for how far a
mined name is from a true one.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.files import read_rows
from workflow_scripts.lib.texts.names import normalise

# WordNet's name of a part of speech: ending of the files, letter of the ids.
PARTS = {"noun": ("noun", "n"), "adjective": ("adj", "a")}
# Lexicographer files by number (manual page lexnames(5WN)); those of nouns and adjectives.
FILES = {
    0: "adj.all", 1: "adj.pert", 44: "adj.ppl", 3: "noun.Tops", 4: "noun.act", 5: "noun.animal",
    6: "noun.artifact", 7: "noun.attribute", 8: "noun.body", 9: "noun.cognition",
    10: "noun.communication", 11: "noun.event", 12: "noun.feeling", 13: "noun.food",
    14: "noun.group", 15: "noun.location", 16: "noun.motive", 17: "noun.object",
    18: "noun.person", 19: "noun.phenomenon", 20: "noun.plant", 21: "noun.possession",
    22: "noun.process", 23: "noun.quantity", 24: "noun.relation", 25: "noun.shape",
    26: "noun.state", 27: "noun.substance", 28: "noun.time",
}  # fmt: skip


@dataclass(frozen=True)
class Tree:
    """Nodes, their names and parents; a node may have several parents, a name several nodes.

    names: normalised name -> ids of its nodes (its senses, the most frequent first).
    parents: node -> ids of its parents, for every node; free of cycles.
    instances: nodes that are proper nouns. files: node -> name of its lexicographer file.
    titles: node -> its first name; two nodes can share it. A table tells none of the three.
    """

    names: dict
    parents: dict
    instances: frozenset = frozenset()
    files: dict | None = None
    titles: dict | None = None

    def nodes(self, name):
        """Ids of the nodes that bear a name; () if the tree does not know it."""
        return self.names.get(normalise(name), ())

    def ancestors(self, nodes):
        """The set of nodes above any of these; without themselves, unless one is above another."""
        return _reach(self.parents, nodes)

    def descendants(self, nodes):
        """The set of nodes below any of these; without themselves, unless one is below another."""
        return _reach(self._children, nodes)

    def is_proper(self, node):
        """Whether a node is a proper noun (WordNet: an instance of its hypernym)."""
        return node in self.instances

    def file(self, node):
        """Name of a node's lexicographer file, e.g. "noun.person"; None in a tree of a table."""
        return (self.files or {}).get(node)

    def path_similarity(self, nodes, others):
        """1 / (1 + edges of the shortest path that joins any of `nodes` with any of `others`).

        Paths go up from both ends to a common ancestor, as in NLTK's path_similarity. 0 if no path
        joins them. For two names give all their nodes; for the nearest of many names all of theirs.
        """
        up, down = self._distances(nodes), self._distances(others)
        lengths = [up[node] + down[node] for node in up.keys() & down.keys()]
        return 1 / (1 + min(lengths)) if lengths else 0.0

    def node(self, name):
        """The node that a class label means: the one with this id, else the name's first sense.

        A WordNet id as ImageNet's labels give it (n02084071) is certain. The first sense of a name
        is its most frequent one, and may not be the one that the images show (crane).
        Raises InputError if the tree has neither.
        """
        if name in self.parents:
            return name
        senses = self.nodes(name)
        if not senses:
            raise InputError(
                f"the concept tree has no node {name!r}: correct the label, or give a tree (a "
                "table with the columns child, parent) that holds every label"
            )
        return senses[0]

    def title(self, node):
        """A node's readable name: WordNet's first word for it. In a table the node is its name."""
        return (self.titles or {}).get(node, node)

    def depth(self, node):
        """Edges of the shortest path from a root down to a node (NLTK's min_depth)."""
        return self._depths[node]

    def lineage(self, node):
        """One path from a root down to a node: a list that starts with the root, ends with node.

        Of several parents it takes the one of least depth, then the least id. So it is a shortest
        path, and the lineages of all nodes together form a tree with one parent per node.
        """
        path = [node]
        while parents := self.parents[path[-1]]:
            path.append(min(parents, key=lambda parent: (self._depths[parent], parent)))
        return path[::-1]

    def steps_up(self, node):
        """{node: 0, parent: 1, ...}: all ancestors, over every parent, by the shortest way up."""
        return self._distances([node])

    @cached_property
    def _depths(self):
        depths, depth = {}, 0
        level = [node for node, parents in self.parents.items() if not parents]
        while level:
            depths.update(dict.fromkeys(level, depth))
            below = {child for node in level for child in self._children.get(node, ())}
            level, depth = {node for node in below if node not in depths}, depth + 1
        return depths

    @cached_property
    def _children(self):
        children = {}
        for node, parents in self.parents.items():
            for parent in parents:
                children.setdefault(parent, []).append(node)
        return children

    def _distances(self, nodes):
        """Edges from the nearest of `nodes` up to each of them and of their ancestors."""
        found = dict.fromkeys(nodes, 0)
        level = list(found)
        steps = 0
        while level:
            steps += 1
            level = [p for node in level for p in self.parents[node] if p not in found]
            found.update(dict.fromkeys(level, steps))
        return found


def _reach(edges, nodes):
    """All nodes that one or more edges lead to."""
    found, level = set(), nodes
    while level:
        level = {n for node in level for n in edges.get(node, ())} - found
        found |= level
    return found


def read_trees(path):
    """Part of speech -> Tree, of a folder with WordNet's database files or of a table of nouns."""
    if Path(path).is_dir():
        return {pos: read_wordnet(path, pos) for pos in PARTS}
    return {"noun": read_table_tree(path)}


def tree_places(files):
    """What `read_trees` reads of several trees, in order.

    files: of each tree a table, or the database files of a folder, data.noun the first of them.
    """
    endings = [ending for ending, _ in PARTS.values()]
    database = {f"{kind}.{ending}" for kind in ("data", "index") for ending in endings}
    files = [Path(file) for file in files]
    first = [file for file in files if file.name == "data.noun" or file.name not in database]
    return [file.parent if file.name in database else file for file in first]


def noun_tree(files):
    """The Tree of nouns of a table (one file), or of WordNet's database files in one folder."""
    return read_trees(files[0] if len(files) == 1 else Path(files[0]).parent)["noun"]


def read_table_tree(path):
    """The Tree of a table with the columns child and parent, one row per edge; names are nodes.

    path: a .csv, .tsv or .parquet file. A row without parent names a root. Raises InputError for
    an unreadable file, a missing column or a cycle.
    """
    parents = {}
    for place, edge in read_rows(path, {"child": "child", "parent": "parent"}):
        child, parent = normalise(edge["child"] or ""), normalise(edge["parent"] or "")
        if not child:
            raise InputError(f"{path}, {place}: the row has no child; remove or complete it")
        found = parents.setdefault(child, [])
        if parent:
            parents.setdefault(parent, [])
            if parent not in found:
                found.append(parent)
    _refuse_cycles(parents, path)
    return Tree({name: (name,) for name in parents}, parents)


def _refuse_cycles(parents, path):
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        node = min(error.args[1])
        raise InputError(f"{path}: {node!r} is its own ancestor; remove a row") from None


def read_wordnet(folder, pos="noun"):
    """The Tree of one part of speech of WordNet 3 (files data.noun and index.noun of wndb(5WN)).

    folder: holds the database files, e.g. /usr/share/wordnet of Debian's package wordnet-base.
    pos: "noun" or "adjective" (which has no hypernyms, but lexicographer files: adj.pert holds the
        pertainyms). Ids are a letter and the 8-digit offset, as in ImageNet's wnids: n02084071.
    Raises InputError if a file is missing or a line does not parse.
    """
    ending, letter = PARTS[pos]
    try:
        tree = _parse_wordnet(folder, ending, letter)
    except InputError:
        raise
    except (ValueError, LookupError) as error:
        kind = type(error).__name__
        raise InputError(
            f"{folder}: data.{ending} or index.{ending} is no WordNet 3 database file "
            f"({kind}: {error})"
        ) from error
    named = itertools.chain(*tree.parents.values(), *tree.names.values())
    if unknown := next((node for node in named if node not in tree.parents), None):
        raise InputError(
            f"{folder}: data.{ending} has no synset {unknown!r}, which it or index.{ending} names: "
            "copy both files again"
        )
    _refuse_cycles(tree.parents, f"{folder}/data.{ending}")
    return tree


def first_words(path):
    """WordNet id -> the first word of its synset, normalised. path: WordNet's data.noun.

    Raises InputError if the file is missing or does not parse.
    """
    try:
        return {"n" + f[0]: normalise(f[4]) for f in _lines(Path(path).parent, Path(path).name)}
    except (ValueError, LookupError) as error:
        raise InputError(f"{path} is no WordNet 3 database file ({error})") from error


def _parse_wordnet(folder, ending, letter):
    parents, files, titles, instances = {}, {}, {}, set()
    for fields in _lines(folder, f"data.{ending}"):
        node, words = letter + fields[0], int(fields[3], 16)
        pointers = fields[4 + 2 * words :]
        parents[node] = []
        files[node] = FILES[int(fields[1])]
        titles[node] = normalise(fields[4])
        for symbol, offset in zip(pointers[1::4], pointers[2::4], strict=True):
            if symbol in ("@", "@i"):
                parents[node].append(letter + offset)
            if symbol == "@i":
                instances.add(node)
    names = {}
    for fields in _lines(folder, f"index.{ending}"):
        senses = fields[len(fields) - int(fields[2]) :]
        names[normalise(fields[0])] = tuple(letter + offset for offset in senses)
    return Tree(names, parents, frozenset(instances), files, titles)


def _lines(folder, name):
    """The fields of every entry of a database file, without the licence and the gloss."""
    path = Path(folder) / name
    if not path.is_file():
        raise InputError(
            f"{path} does not exist: give the folder of WordNet's database files "
            "(Debian: install wordnet-base, folder /usr/share/wordnet)"
        )
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith(" "):
                yield line.split(" | ")[0].split()
