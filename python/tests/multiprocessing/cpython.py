"""CPython's own tests of queues and pools, with a context of ours. They come from the installed
interpreter's `test` package.

    TOMBOLO_START_METHOD=spawn python cpython.py WithProcessesTestQueue TestSimpleQueue
"""

import multiprocessing
import multiprocessing.queues
import os
import unittest

from test import _test_multiprocessing as suite

import tombolo.multiprocessing

METHOD = os.environ.get("TOMBOLO_START_METHOD", "fork")
CONTEXT = tombolo.multiprocessing.get_context(METHOD)

# What the tests call, and what they are made of. Children come by here, too.
for name in ("Queue", "JoinableQueue", "SimpleQueue", "Pool"):
    setattr(multiprocessing, name, getattr(CONTEXT, name))
    if hasattr(suite.ProcessesMixin, name):
        setattr(suite.ProcessesMixin, name, staticmethod(getattr(CONTEXT, name)))
for name in ("Queue", "JoinableQueue", "SimpleQueue"):
    setattr(multiprocessing.queues, name, getattr(tombolo.multiprocessing, name))

suite.install_tests_in_module_dict(globals(), METHOD)

if __name__ == "__main__":
    unittest.main()
