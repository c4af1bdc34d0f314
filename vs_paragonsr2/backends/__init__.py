"""One file a runtime. A runtime is imported when its backend is asked for, and not before."""

from importlib import import_module
from typing import Protocol, cast

from ..errors import ParagonSR2Error
from .base import Options, Request, Session


class Backend(Protocol):
    """What the module of a backend has."""

    def default_device(self) -> str:
        """The kind of device that the backend takes when nobody says which."""
        ...

    def open_session(self, request: Request) -> Session:  # type: ignore[type-arg]
        """Make a session ready to run. Raises ParagonSR2Error for what the user can mend."""
        ...


BACKENDS = ("openvino", "reference")
"""Names of the backends, the preferred one first."""


def load_backend(name: str) -> Backend:
    """Import the module of a backend. Raises ParagonSR2Error for a name that is none, or a runtime that is not installed."""
    if name not in BACKENDS:
        raise ParagonSR2Error(f"backend is {name!r}: expected one of {', '.join(map(repr, BACKENDS))}, or None to choose")
    try:
        return cast(Backend, import_module(f".{name}", __package__))
    except ImportError as error:
        raise ParagonSR2Error(f"backend is {name!r}, which cannot be imported here ({error})") from error


__all__ = ["BACKENDS", "Backend", "Options", "Request", "Session", "load_backend"]
