"""The splits of a data set, told by the names of its files or folders."""

import re

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def splits_of(names):
    """The splits that names tell, sorted, if every name tells one and they are several; else [].

    names: as "train", "data/train-00000-of-00002.parquet" or "photos-test-0001.tar". A name like
    those of an archive per class may hold such a word by chance; not all of them do.
    """
    splits = {_split_of(name) for name in set(names)}
    return sorted(splits) if None not in splits and len(splits) > 1 else []


def _split_of(name):
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)
