"""Name leaks: negatives that are names of the classes of OOD sets.

A negative is meant to be any name that no ID class has. One that names a class of the OOD set tells
the detector what the outliers are, which a user who does not know them could not. Evaluation only:
labels of OOD images are read here.
"""

from workflow_scripts.lib.concepts.quality import tree_functions, true_names_of
from workflow_scripts.lib.detection.table import MEAN


class Leaks:
    """Counts the negatives that name classes of OOD sets.

    classes: OOD set -> the names of its classes, a set, spelled as concepts are (`names_of_sets`);
        empty where they are unknown. groups: "near", "far" -> names of OOD sets.
    tree: a `trees.Tree`, by which a synonym of a class is a name of it too, or None.
    """

    def __init__(self, classes, groups, tree=None):
        self.classes, self.groups = classes, groups | {"all": [*groups["near"], *groups["far"]]}
        self._synonyms = {}
        for name, own in classes.items() if tree else ():
            self._synonyms[name] = tree_functions(tree, own)[0]

    def of_rows(self, rows, negatives):
        """Number of negatives that name a class of a row's OOD sets: a list, one per row.

        rows: of `table.table_rows`. negatives: distinct names. A mean counts each name once. None
        where no class is known; of several sets, those whose classes are unknown count nothing.
        """
        leaked = {name: self._leaked(name, negatives) for name in self.classes}
        return [self._count(leaked, row) for row in rows]

    def _count(self, leaked, row):
        sets = self.groups[row.ood_group] if row.ood_set == MEAN else [row.ood_set]
        known = [leaked[name] for name in sets if self.classes[name]]
        return len(set().union(*known)) if known else None

    def _leaked(self, image_set, negatives):
        classes = self.classes[image_set]
        synonyms = self._synonyms.get(image_set, lambda name: ())
        return {name for name in negatives if name in classes or synonyms(name)}


def names_of_sets(indexes, parts, namings):
    """OOD set -> the names of its classes, a set. indexes: paths, by set in the order of `parts`
    (name -> number). namings: functions label -> name, as `label_names.naming` gives them."""
    paths, classes = iter(indexes), {}
    for (image_set, number), name_of in zip(parts.items(), namings, strict=True):
        classes[image_set] = true_names_of([next(paths) for _ in range(number)], name_of)
    return classes
