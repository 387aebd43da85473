"""Which graphics cards a job may use. Snakemake counts them, but does not say which is whose.

A job takes the cards that the fewest running jobs of this user have, and says so by a locked file
in the temporary directory. The operating system drops the lock when the process ends, however it
ends. More jobs than cards (`--resources gpu=8` on 2 cards) share them evenly.
"""

import os
import tempfile
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = Path("/dev")
_HELD = []  # open files, whose locks say that this process uses a card


def reserve(gpus):
    """Let this process see `gpus` cards, or all where there are fewer; 0 is the CPU alone.

    CUDA reads the choice at its first call, so torch, faiss and all others see these cards only,
    the first of them as `cuda:0`. Cards that CUDA_VISIBLE_DEVICES leaves out (SLURM sets it) are
    never taken.
    """
    cards = visible_cards()
    if not gpus:
        os.environ[VISIBLE] = ""
    elif gpus < len(cards):
        os.environ[VISIBLE] = ",".join(_least_used(cards, gpus))


def visible_cards():
    """The cards of this machine that CUDA may use, as CUDA_VISIBLE_DEVICES names them."""
    if VISIBLE in os.environ:
        return [card.strip() for card in os.environ[VISIBLE].split(",") if card.strip()]
    return [str(number) for number in range(len([*DEVICES.glob("nvidia[0-9]*")]))]


def _least_used(cards, wanted):
    """The `wanted` cards that the fewest jobs have, in their order; they are this process's now."""
    import fcntl

    folder = Path(tempfile.gettempdir(), f"clustermine-cards-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "choosing").open("w") as choosing:
        fcntl.flock(choosing, fcntl.LOCK_EX)  # one job after the other
        chosen = sorted(cards, key=lambda card: _jobs_on(card, folder))[:wanted]
        for card in chosen:
            number, _ = tempfile.mkstemp(prefix=_prefix(card), dir=folder)
            file = os.fdopen(number)
            fcntl.flock(file, fcntl.LOCK_EX)
            _HELD.append(file)
    return sorted(chosen, key=cards.index)


def _jobs_on(card, folder):
    """How many processes have a card; files of those that ended are removed."""
    import fcntl

    jobs = 0
    for path in folder.glob(f"{_prefix(card)}*"):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                jobs += 1
    return jobs


def _prefix(card):
    """The start of the names of a card's files; a card may be a number or a UUID."""
    return card.replace("/", "_") + "@"
