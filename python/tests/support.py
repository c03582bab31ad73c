"""What the tests have in common."""

import contextlib
import os
import signal
import threading
import time
import unittest

import tombolo

# A wait that should end long before: it fails the test instead of hanging it.
LONG = 20

PEER = os.environ.get("TOMBOLO_PEER", "")


class Case(unittest.TestCase):
    def segment(self, **options):
        segment = tombolo.anonymous(**options)
        self.addCleanup(segment.leave)
        return segment


def until(condition, what="the condition"):
    """Waits for a condition that no call waits for."""
    end = time.monotonic() + LONG
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} has not come about")
        time.sleep(0.001)


@contextlib.contextmanager
def thread(target, *args):
    """A thread that has ended when the body has."""
    failed = []

    def run():
        try:
            target(*args)
        except BaseException as error:
            failed.append(error)

    running = threading.Thread(target=run, daemon=True)
    running.start()
    try:
        yield running
    finally:
        running.join(LONG)
    if running.is_alive():
        raise AssertionError("the thread does not end")
    if failed:
        raise failed[0]


@contextlib.contextmanager
def forked(child):
    """A forked process that runs a function; killed when the body ends, if it is still there."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            child()
            status = 0
        except BaseException as error:
            os.write(2, f"in the child: {error!r}\n".encode())
        finally:
            os._exit(status)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def ended(pid):
    """The exit status of a child."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
