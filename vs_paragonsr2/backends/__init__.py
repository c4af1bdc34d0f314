"""One module or package a runtime. A backend describes itself (:class:`.base.Backend`), and is known by being here.

Other packages add backends through the entry-point group ``vs_paragonsr2.backends``; see ``docs/adding-a-backend.md``.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module, metadata
from pkgutil import iter_modules

from ..support.errors import ParagonSR2Error
from .base import AnyBackend, AnySession, Backend, Plane, Request, Session, listed
from .options import OptionError, Options, described, option, parse

ENTRY_POINTS = "vs_paragonsr2.backends"
"""The group of entry points by which other packages add backends. Each names an instance of Backend."""

# OpenVINO's converter starts a process that reports its use to its makers, unless the module for it is missing when OpenVINO is
# imported, whoever imports it in this process. A filter in a player neither starts processes nor reports.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


@cache
def backends() -> dict[str, AnyBackend]:
    """All backends by name, those that are chosen first before the others.

    A backend of another package that cannot be imported, is none, or has the name of another one is replaced by a
    :class:`BrokenBackend`, which says so when it is asked for.
    """
    found = {backend.name: backend for backend in _own()}
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        backend = _entered(entry, set(found))
        found[backend.name] = backend
    return dict(sorted(found.items(), key=lambda item: -(item[1].preference or 0)))


def _own() -> Iterator[AnyBackend]:
    """The backends of this package: whatever module in here has one."""
    for module in iter_modules(__path__):
        backend = getattr(import_module(f".{module.name}", __package__), "BACKEND", None)
        if isinstance(backend, Backend):
            yield backend


class BrokenBackend(Backend[Options]):
    """A backend that takes the place of another package's where that cannot be used. It is never chosen."""

    devices = precisions = ()

    def __init__(self, name: str, why: str) -> None:
        self.name = self.title = name  # type: ignore[misc]
        self._why = why

    def missing(self, device: str | None) -> str:
        return self._why

    def load(self) -> None:
        raise ParagonSR2Error(f"backend is {self.name!r}: {self._why}")

    def default_streams(self, device: str) -> int:
        raise AssertionError("load raises")

    def device_name(self, options: Options) -> str:
        raise AssertionError("load raises")

    def list_devices(self) -> Iterator[str]:
        raise AssertionError("load raises")

    def open_session(self, request: Request[Options]) -> AnySession:
        raise AssertionError("load raises")


def _entered(entry: metadata.EntryPoint, taken: set[str]) -> AnyBackend:
    """The backend of an entry point."""
    where = f"entry point {entry.value!r} of {entry.dist.name if entry.dist else 'another package'}"
    try:
        backend = entry.load()
    except Exception as error:  # whatever another package does wrong is its own matter
        return BrokenBackend(entry.name, f"{where} cannot be imported ({type(error).__name__}: {error})")
    if not isinstance(backend, Backend) or backend.name != entry.name:
        return BrokenBackend(entry.name, f"{where} is {backend!r}: expected an instance of Backend with the entry point's name")
    if backend.name in taken:
        return BrokenBackend(f"{backend.name} of {where}", "there is another backend of that name")
    return backend


def find_backend(name: str) -> AnyBackend:
    """The backend of a name; its runtime is not imported. Raises ParagonSR2Error where there is none."""
    found = backends().get(name) if isinstance(name, str) else None
    if found is None:
        raise ParagonSR2Error(f"backend is {name!r}: expected one of {listed(backends())}, or None to choose")
    return found


def load_backend(name: str) -> AnyBackend:
    """The backend of a name, with its runtime imported. Raises ParagonSR2Error where there is none, or it cannot be imported."""
    backend = find_backend(name)
    backend.load()
    return backend


def check_options(given: Mapping[str, object]) -> None:
    """Raise OptionError for an option that no backend has, as a misspelt one, and for a value that means nothing to any."""
    for name, value in given.items():
        faults = []
        for backend in backends().values():
            try:
                parse(backend.options_type, {name: value}, backend.name)
                break
            except OptionError as error:
                faults.append(error)
            except ParagonSR2Error:  # the option is foreign to this backend
                continue
        else:
            if faults:
                raise faults[0]
            known = sorted({name for backend in backends().values() for name in described(backend.options_type)})
            raise OptionError(f"{name} is no argument of upscale() and no option of a backend: those are {', '.join(known)}")


def candidates(device: str | None) -> tuple[list[str], str]:
    """The names of the backends to try in turn on a kind of device (None for any), and what others lack in words."""
    chosen = [
        backend
        for backend in backends().values()
        if backend.preference is not None and (device is None or device.lower() in map(str.lower, backend.chosen_devices))
    ]
    lacks = {backend.name: backend.missing(device) for backend in chosen}
    return [name for name, lack in lacks.items() if lack is None], "; ".join(dict.fromkeys(filter(None, lacks.values())))


__all__ = [
    "Backend",
    "OptionError",
    "Options",
    "Plane",
    "Request",
    "Session",
    "backends",
    "candidates",
    "check_options",
    "find_backend",
    "load_backend",
    "option",
]
