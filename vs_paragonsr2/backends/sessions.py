"""The sessions of the process: equal requests share one, whichever script or thread they come from.

A player runs its script again at each seek, so what is loaded or compiled lives here and not in the script.
"""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any

from . import find_backend
from .base import AnySession, Request

type AnyRequest = Request[Any]

MAX_SESSIONS = 8
"""Sessions kept for whoever asks next; one that a clip is using lives on without being kept."""

MAX_DEVICE_BYTES = 2 << 30
"""Memory of graphics cards that sessions other than the one asked for last may keep."""


class SharedSessions:
    """Sessions by request, the least recently asked for dropped first.

    Where several ask for the same at once, one builds it and the others wait. What is dropped gives its device's memory back as
    soon as no clip uses it any more.
    """

    def __init__(
        self,
        build: Callable[[AnyRequest], AnySession],
        max_sessions: int = MAX_SESSIONS,
        max_device_bytes: int = MAX_DEVICE_BYTES,
    ) -> None:
        self._build = build
        self._max_sessions = max_sessions
        self._max_device_bytes = max_device_bytes
        self._sessions: OrderedDict[AnyRequest, Future[AnySession]] = OrderedDict()
        self._lock = Lock()

    def get(self, request: AnyRequest) -> AnySession:
        """The session for a request. What building it raises is raised to all who wait, and is not kept."""
        with self._lock:
            future = self._sessions.get(request)
            builds = future is None
            if future is None:
                future = self._sessions[request] = Future()
            self._sessions.move_to_end(request)
            self._drop_old()
        if builds:
            try:
                future.set_result(self._build(request))
            except BaseException as error:
                with self._lock:
                    if self._sessions.get(request) is future:
                        del self._sessions[request]
                future.set_exception(error)
        try:
            return future.result()
        finally:
            del future  # it holds the error, whose traceback holds this frame

    def _drop_old(self) -> None:
        while len(self._sessions) > self._max_sessions or (
            len(self._sessions) > 1 and sum(map(_device_bytes, list(self._sessions.values())[:-1])) > self._max_device_bytes
        ):
            self._sessions.popitem(last=False)

    def clear(self) -> None:
        """Forget all sessions; those in use live on until their clips are freed."""
        with self._lock:
            self._sessions.clear()


def _device_bytes(future: Future[AnySession]) -> int:
    return future.result().device_bytes if future.done() and future.exception() is None else 0


def _open(request: AnyRequest) -> AnySession:
    return find_backend(request.backend).open_session(request)


SESSIONS = SharedSessions(_open)
"""The sessions of this process."""
