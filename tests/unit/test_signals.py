import os
import signal
import threading

from workflow_scripts.lib.signals import handle_in_thread


def test_a_handler_may_take_a_lock_that_the_main_thread_holds():
    lock, handled = threading.Lock(), threading.Event()

    def handler():
        with lock:
            handled.set()

    before = signal.getsignal(signal.SIGTERM)
    try:
        handle_in_thread(signal.SIGTERM, handler)
        with lock:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not handled.wait(0.05)
        assert handled.wait(10)
    finally:
        signal.signal(signal.SIGTERM, before)
