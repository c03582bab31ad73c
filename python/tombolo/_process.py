"""What a process has open: found again by what is unpickled, and left when the process ends."""

from __future__ import annotations

import atexit
import weakref
from multiprocessing import util
from typing import TYPE_CHECKING, Protocol

from tombolo import _native

if TYPE_CHECKING:
    from tombolo._handles import Segment


class _End(Protocol):
    def let_go(self) -> None: ...


# By the id of its shared memory. A process is one participant of a segment, however many of its
# handles are unpickled.
segments: weakref.WeakValueDictionary[int, Segment] = weakref.WeakValueDictionary()
_ends: weakref.WeakSet[_End] = weakref.WeakSet()


def opened(end: _End) -> None:
    """Has an end closed when the process ends."""
    _ends.add(end)


def leave() -> None:
    """Closes all ends, and leaves all segments. What is in hand comes again at another receiver:
    the kernel tells the others when this process is gone."""
    _native.ending()
    for end in list(_ends):
        _without_failing(end.let_go)
    for segment in list(segments.values()):
        _without_failing(segment.leave)


def _without_failing(end: object) -> None:
    try:
        end()  # type: ignore[operator]
    except Exception:
        # The kernel does it when the process is gone.
        pass


class _Marker:
    """A child of multiprocessing forgets what its parent was to do at the end."""


_marker = _Marker()


def _at_the_end(_: object = None) -> None:
    # A child of multiprocessing ends by os._exit, after these. Below zero: after its own
    # children are joined.
    util.Finalize(None, leave, exitpriority=-100)


util.register_after_fork(_marker, _at_the_end)
_at_the_end()
atexit.register(leave)
