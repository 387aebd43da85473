"""A small tree of classes, and random ones."""

from workflow_scripts.lib.texts.trees import Tree

# dog has two parents; pet is above it by the shorter way.
PARENTS = {
    "thing": [],
    "animal": ["thing"],
    "mammal": ["animal"],
    "canine": ["mammal"],
    "dog": ["canine", "pet"],
    "pet": ["animal"],
    "wolf": ["canine"],
    "puppy": ["dog"],
    "cat": ["mammal"],
    "hawk": ["animal"],
    "car": ["thing"],
    "van": ["car"],
}
TREE = Tree({name: (name,) for name in PARENTS}, PARENTS)
CLASSES = ["car", "cat", "hawk", "puppy", "van", "wolf"]


def random_tree(rng, size):
    parents = {"0": []}
    for i in range(1, size):
        above = rng.choice(i, size=min(i, rng.integers(1, 3)), replace=False)
        parents[str(i)] = [str(p) for p in above]
    return Tree({node: (node,) for node in parents}, parents)
