"""Signals to the main process of a run."""

import signal
import threading


def handle_in_thread(number, handler):
    """Call a handler of this signal in a thread of its own, without arguments.

    In the main thread, a handler that takes a lock waits for ever if it interrupts what holds the
    lock: Snakemake's of SIGTERM takes that of its scheduler.
    """
    signal.signal(number, lambda *_: threading.Thread(target=handler, daemon=True).start())
