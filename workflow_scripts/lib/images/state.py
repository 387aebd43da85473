"""The state of an image set: short names that change when the set, or a shard of it, does.

The workflow asks for them before it decides what to run, so a look at unchanged files reads none of
them and imports little.
"""

import hashlib
import json
from pathlib import Path

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.folders import files_state, folder_state
from workflow_scripts.lib.replacing import replacing


def fingerprint(source, cfg, code, root=None):
    """Digest (12 hex digits) of all that a listing depends on; no image is read.

    It changes when a file of the set is added, removed, edited, touched or replaced, or with `cfg`
    or `code`.
    source, cfg, root: see `listing.scan`. code: digest of the code that lists.
    """
    try:
        files = _list_state(source, cfg, root) if cfg["kind"] == "list" else folder_state(source)
    except (InputError, OSError) as error:  # the listing says it better
        files = str(error)
    return _digest([files, cfg, code])


def _list_state(path, cfg, root):
    """State of a list of images and of the files that it names.

    Opened as the listing opens it, so that it raises InputError only where the listing does.
    """
    from workflow_scripts.lib.images.containers import open_container

    container = open_container("list", path, cfg["labels"], root=root, **cfg["options"])
    return [folder_state(path), files_state(container.files(), container.root)]


def set_state(record, fingerprint, shards, scan):
    """Names of a set's state: {"listing": name, "shards": [name, ...]}, of 12 hex digits each.

    record: path of the set's record (see `record.py`), which need not exist. fingerprint: of the
    files as they are now. shards: their number. scan: a function that takes this path and
    returns a `listing.Listing`; it may raise InputError or OSError.

    Without a record every name is the fingerprint, and nothing is read. With a record of this
    fingerprint the names are those on record. Else the set is scanned and the record written anew:
    equal content has an equal name, whatever happened to the files. If the scan fails, all names
    are new, so that the listing runs and says why; the record stays.
    The names are also written to `state.json` beside the record, for `recorded_state`.
    """
    state = _decided(record, fingerprint, shards, scan)
    text = json.dumps({"fingerprint": fingerprint, **state}) + "\n"
    path = _state_file(record)
    if not path.exists() or path.read_text("utf-8") != text:
        with replacing(path) as temporary:
            temporary.write_text(text, "utf-8")
    return state


def recorded_state(record, shards):
    """The names that `set_state` decided last; for jobs, which must not look at the files again.

    All names are None in an empty folder, where jobs start that share no file system with the main
    process. It remembers what it asked for, whatever they are called there.
    """
    try:
        state = json.loads(_state_file(record).read_text("utf-8"))
    except FileNotFoundError:
        return _all_named(None, shards)
    return {key: state[key] for key in ("listing", "shards")}


def _state_file(record):
    return Path(record).with_name("state.json")


def _decided(record, fingerprint, shards, scan):
    if not Path(record).exists():
        return _all_named(fingerprint, shards)
    from workflow_scripts.lib.images import record as records  # imports pyarrow

    noted = records.read_record(record)
    if noted is None:
        return _all_named(fingerprint, shards)
    if noted["fingerprint"] != fingerprint:
        try:
            listing = scan(record)
        except (InputError, OSError) as error:
            return _all_named(_digest([fingerprint, str(error)]), shards)
        noted |= {"fingerprint": fingerprint, **records.digests(listing)}
        records.write_record(record, listing, noted)
    return records.named(noted, noted["names"])


def _all_named(name, shards):
    return {"listing": name, "shards": [name] * shards}


def _digest(values):
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
