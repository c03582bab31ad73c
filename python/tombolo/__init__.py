"""Channels between the processes of one machine, through shared memory, that survive kill -9."""

from tombolo._errors import *  # noqa: F403
from tombolo._errors import __all__ as _errors
from tombolo._native import Segment

__all__ = ["Segment", *_errors]
