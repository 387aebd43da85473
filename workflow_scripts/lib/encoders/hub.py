"""Files of the model hub (Hugging Face): from its local cache, or downloaded, or an error that says
which file is missing where. Its own client would retry for minutes without a network."""

import contextlib
import contextvars
from pathlib import Path

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.encoders.files import sha256_of
from workflow_scripts.lib.errors import InputError

PINS = contextvars.ContextVar("pins", default=None)
"""The folder that tells the SHA-256 of the files that were used before; None: none is compared."""
TIMEOUT = 5.0  # seconds to wait for the hub before saying that it is out of reach


class NotInHub(InputError):
    """The hub has no such file, or cannot be asked and the cache has none."""


def hub_file(repo, names, what, remedy):
    """Path of the first of the files `names` that a repository has, in the order given.

    repo: "owner/name". what: what the file is ("The weights of X"), and remedy: a way out besides
    a network or a copied cache ("set 'pretrained' to a weights file"), for the message.
    Raises NotInHub, or InputError if a download fails: then the next name is not tried, since this
    one may exist; and InputError for another content than that which was used first (PINS).
    """
    name, path = _found(repo, names, what, remedy)
    if PINS.get():
        _check_pin(Path(PINS.get(), repo.replace("/", "--"), f"{name}.sha256"), path, what)
    return path


def _check_pin(pin, path, what):
    """Compare a file with its digest on record, or note it at first sight."""
    found = sha256_of(path)
    if not pin.exists():
        write_text(pin, f"{found}  {path.name}\n")  # as sha256sum writes it
        return
    noted = pin.read_text("utf-8").partition(" ")[0]
    if noted != found:
        raise InputError(
            f"{what}: {path} has the SHA-256 {found[:12]}..., but what was first used here has "
            f"{noted[:12]}... ({pin}): the file is damaged, or the hub has another one now. "
            f"Remove {path.resolve()} to download it again; if you mean the new file, remove {pin} "
            "and the embeddings by the old one."
        )


def _found(repo, names, what, remedy):
    """The first of the names that there is, and its path."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    for name in names:
        with contextlib.suppress(LocalEntryNotFoundError):
            return name, Path(hf_hub_download(repo, name, local_files_only=True))
    kind, problem = NotInHub, hub_problem()
    if not problem:
        for name in names:
            try:
                return name, Path(hf_hub_download(repo, name))
            except RemoteEntryNotFoundError as error:
                problem = str(error)
            except Exception as error:  # network, disk and hub errors share no base class
                kind, problem = InputError, f"{type(error).__name__}: {error}"
                break
    raise kind(
        f"{what}: {' or '.join(names)} of {repo} is not in the cache folder "
        f"{constants.HF_HUB_CACHE} and cannot be downloaded ({problem}). Run once with a network, "
        "copy the cache folder from a machine that has it (HF_HOME names its parent), or "
        f"{remedy}."
    )


def hub_problem():
    """Why the model hub is out of reach, or None."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set, as it always is for weights given as files"
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # depends on the HTTP library in use
        return f"no connection to {constants.ENDPOINT}: {error}"
    return None
