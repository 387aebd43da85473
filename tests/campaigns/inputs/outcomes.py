"""How bad input may end: refused in one sentence that names it, or counted; in bounded time and
memory. All else is an AssertionError that says what happened."""

import contextlib
import os
import resource
import select
import signal
import time
import traceback

from workflow_scripts.lib.errors import InputError

SECONDS = 120  # that a case may take: hours are meant, not a busy machine
MEMORY = 1 << 30  # bytes that a case may need
LONGEST = 1010  # characters of a message


def refused(call, *names):
    """The message with which `call()` refuses its input; it names each of `names`."""
    message = ending(call)
    assert message is not None, "it was accepted"
    for name in names:
        assert str(name) in message, f"does not name {name}: {message}"
    return message


def ending(call):
    """The message with which `call()` refuses its input, one sentence; None if it accepts it."""
    try:
        with limited_time():
            call()
    except InputError as error:
        message = str(error)
    except Exception as error:
        frames = "".join(traceback.format_exception(error)[-3:])
        raise AssertionError(f"a traceback of {type(error).__name__}: {frames}") from None
    else:
        return None
    assert message.strip() and "\n" not in message, f"not one line: {message[:LONGEST]!r}"
    assert len(message) <= LONGEST, f"{len(message)} characters: {message[:LONGEST]}"
    return message


@contextlib.contextmanager
def limited_time(seconds=SECONDS):
    def stop(*_):
        raise AssertionError(f"it did not end within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def isolated(check, memory=MEMORY):
    """The check of a case, run in a process of its own that gets no more memory than this."""

    def in_child(folder):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            os.write(writing, _said(check, folder, memory).encode()[:60_000])
            os._exit(0)
        os.close(writing)
        said = _all_of(reading, child)
        os.close(reading)
        _, status = os.waitpid(child, 0)
        assert status == 0, f"its process ended with status {status}"
        assert not said, said

    return in_child


def _said(check, folder, memory):
    """What went wrong in the child; nothing if all is right."""
    try:
        pages = int(open("/proc/self/statm").read().split()[0])  # noqa: PTH123, SIM115
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        check(folder)
    except MemoryError:
        return f"it needs more than {memory >> 20} MiB: {traceback.format_exc(limit=-2)}"
    except BaseException as error:
        return str(error) or traceback.format_exc(limit=-2)
    return ""


def _all_of(pipe, child):
    deadline, said = time.monotonic() + 2 * SECONDS, b""
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            return f"it did not end within {2 * SECONDS} s"
        part = os.read(pipe, 1 << 16)
        if not part:
            return said.decode("utf-8", "replace")
        said += part


def damaged(content, rng, edits=4):
    """Bytes with a few random edits: overwritten, cut, doubled or moved; never the same bytes."""
    result = bytearray(content)
    while bytes(result) == content:
        for _ in range(rng.integers(1, edits + 1)):
            at, size = rng.integers(len(result) + 1), int(rng.integers(1, 9))
            kind = rng.integers(5)
            if kind == 0:
                result[at : at + size] = rng.bytes(size)
            elif kind == 1:
                result[at : at + size] = rng.choice([b"\0", b"\xff", b"\x7f"]) * size
            elif kind == 2:
                result[at:at] = rng.bytes(size)
            elif kind == 3:
                del result[at : at + size]
            else:
                del result[at:]
            result = result or bytearray(b"\0")
    return bytes(result)
