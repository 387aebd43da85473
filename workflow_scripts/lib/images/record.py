"""The record of an image set: what its files were when it was last listed, and the names of states.

It saves reading unchanged files again, and tells which shards changed. A state's name is the digest
of what was listed. The first listing's is given before anything is read; it is kept beside the
digest, for as long as the record exists.
"""

import hashlib
import json
from pathlib import Path

import pyarrow as pa

from workflow_scripts.lib.artifacts import read_meta, read_table, write_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.manifest import LISTED, LOCATORS, MANIFEST, columns_of
from workflow_scripts.lib.images.rows import tuples

TIMES = ("file_bytes", "mtime_ns", "ctime_ns")  # of the file that holds the image, see `times_of`
MEASURES = ("bytes", "width", "height", "sha256")  # as `Container.measure` returns them
RECORD = pa.schema([("path", pa.string()), *(LISTED.field(name) for name in TIMES + MEASURES)])
NOTHING = RECORD.empty_table()  # what is known without a record


def read_hashes(path, reading):
    """What is known of the files that were listed last, a Table of RECORD.

    reading: as `listing.Listing` has it. Nothing is known of files that were read in another way.
    """
    if not Path(path).exists():
        return NOTHING
    try:
        known = read_meta(path).get("reading", {}) == reading
        return read_table(path).cast(RECORD) if known else NOTHING
    except (InputError, ValueError):  # a broken record costs time, not correctness
        return NOTHING


def read_record(path):
    """What `write_record` noted of the state, a dict with fingerprint, listing, shards and names;
    None without a record that can be read. Reads no rows."""
    try:
        noted = read_meta(path)
    except (OSError, ValueError):  # pyarrow.ArrowInvalid is a ValueError
        return None
    return noted if "fingerprint" in noted else None


def write_record(path, listing, noted):
    """Write the record of a `listing.Listing`.

    noted: its `digests`, and fingerprint, that of the files before they were listed, and names,
    digest -> name of the states that are not called by their digest.
    """
    noted = noted | {"reading": listing.reading}
    write_table(path, columns_of(listing.table, RECORD), noted)


def digests(listing):
    """Digests (12 hex digits) of all that a listing writes, and of each shard's manifest."""
    # With its number, since one shard may come to be as empty as another was at first.
    shards = [_digest(columns_of(s, MANIFEST), number) for number, s in enumerate(listing.shards)]
    places = _digest(columns_of(listing.members, LOCATORS))
    parts = [*shards, places, _digest(listing.rejected)]
    return {"listing": _short(hashlib.sha256("".join(parts).encode())), "shards": shards}


def named(digests, names):
    """The state's names, as its digests: {"listing": name, "shards": [name, ...]}."""
    shards = [names.get(digest, digest) for digest in digests["shards"]]
    return {"listing": names.get(digests["listing"], digests["listing"]), "shards": shards}


def confirm(path, state, listing):
    """Check that a listing is the one that has these names, or note them if it is the first.

    state: names as `state.set_state` gave them. Raises InputError if the images have changed since.
    """
    found, noted = digests(listing), read_record(path)
    if noted is None:
        names = dict(zip(_flat(found), _flat(state), strict=True))
        noted = {"fingerprint": state["listing"], **found, "names": names}
        write_record(path, listing, noted)
    elif named(found, noted["names"]) != state:
        raise InputError("The images changed after the workflow looked at them: run it again.")


def _flat(state):
    return [state["listing"], *state["shards"]]


def _digest(table, number=0):
    digest = hashlib.sha256(b"%d" % number)
    for row in tuples(table):
        digest.update(json.dumps(row).encode())
    return _short(digest)


def _short(digest):
    return digest.hexdigest()[:12]
