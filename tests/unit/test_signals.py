import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# In a process of its own, since without the thread it waits for ever.
INTERRUPTED = """
import os, signal, threading
from workflow_scripts.lib.signals import handle_in_thread

lock, handled = threading.Lock(), threading.Event()

def handler():
    with lock:
        handled.set()

handle_in_thread(signal.SIGTERM, handler)
with lock:
    os.kill(os.getpid(), signal.SIGTERM)
    assert not handled.wait(0.05)
assert handled.wait(20)
"""


def test_a_handler_may_take_a_lock_that_the_main_thread_holds():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, timeout=60, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
