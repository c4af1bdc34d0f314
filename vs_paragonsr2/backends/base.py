"""What every backend is to the rest of the package: a description of itself that opens sessions, which turn planes into planes."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.models import Model
from ..program.colour import ClipSpec
from ..support.errors import ParagonSR2Error
from .options import Options, parse

Plane = NDArray[np.generic]
"""A plane as it lies in a frame: (height, width) samples, rows possibly further apart than they are long."""

type AnySession = "Session[Any]"
type AnyBackend = "Backend[Any]"


class NonFiniteError(Exception):
    """Half precision did not hold a frame's numbers."""


@dataclass(frozen=True, slots=True)
class Request[O: Options]:
    """All that decides what a session computes, and how. Equal requests share a session."""

    model: Model
    spec: ClipSpec
    options: O
    """The backend's own options, with ``device`` and ``num_streams`` filled in."""
    backend: str
    """The backend's name."""
    alpha: float | None = None
    """Blend of the base path's low-pass; None takes the checkpoint's own."""

    @property
    def device(self) -> str:
        """The kind of device, in the backend's own word."""
        assert self.options.device is not None, "Backend.settle fills it in"
        return self.options.device

    @property
    def num_streams(self) -> int:
        """Frames computed at once, on all devices together."""
        assert self.options.num_streams is not None, "Backend.settle fills it in"
        return self.options.num_streams


class Backend[O: Options](ABC):
    """A runtime, described by itself.

    A backend is a module or package of ``vs_paragonsr2.backends``, or an entry point of another package, that has an instance
    of a subclass. Importing that module imports no runtime; :meth:`load` does.
    """

    name: ClassVar[str]
    """The name that users write in ``backend=``."""
    title: ClassVar[str]
    """The name of the runtime, as its makers write it."""
    preference: ClassVar[int | None] = None
    """Where nobody names a backend, the one with the highest preference that works is taken; None is taken by name alone."""
    devices: ClassVar[tuple[str, ...]]
    """Kinds of device, in the backend's own words."""
    chosen_devices: ClassVar[tuple[str, ...]] = ()
    """Kinds of device for which the backend is taken where users name the device and not the backend."""
    several_devices: ClassVar[bool] = False
    """Whether frames can be spread over several devices of a kind."""
    precisions: ClassVar[tuple[str, ...]]
    """Values of ``precision``."""
    options_type: ClassVar[type[Options]] = Options
    """The options that the backend takes."""
    defaults: ClassVar[Mapping[str, str]] = {}
    """What is chosen where users give no ``device``, ``num_streams``, ``precision`` and so on, in words for the documentation."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions decide how fast a session is."""
    cache_kinds: ClassVar[tuple[str, ...]] = ()
    """Suffixes of the entries that the backend keeps in the cache."""
    remedy: ClassVar[str | None] = None
    """What would help where frames come too late, whatever the model; None where a smaller model would help most."""

    def missing(self, device: str | None) -> str | None:
        """What this machine lacks for the backend, in words; None where nothing is known to be missing.

        It is asked before :meth:`load`, and should cost little.

        Args:
            device: the kind of device that users name, or None.
        """
        return None

    _is_loaded = False

    def load(self) -> None:
        """Import what the backend runs on, the first time.

        Raises:
            ParagonSR2Error: it cannot be imported; the message says why and what to install.
        """
        if self._is_loaded:
            return
        try:
            # In a thread, whose frames have no callers: what an import leaves in reference cycles, as PyTorch's does, would hold
            # the clips of the script that happens to be the first.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(self.import_runtime).result()
            self._is_loaded = True
        except ImportError as error:
            hint = self.import_hint(error)
            raise ParagonSR2Error(
                f"backend is {self.name!r}, which cannot be imported here ({error}){hint and f'; {hint}'}"
            ) from error

    def import_runtime(self) -> None:  # noqa: B027 (a backend in NumPy has nothing to import)
        """Import what the backend runs on. Raises ImportError where that fails."""

    def import_hint(self, error: ImportError) -> str:
        """What to do about a failed import, for the end of a message; "" where nothing is known."""
        return ""

    def settle(self, given: Mapping[str, object], most_streams: int) -> O:
        """The options of a session: what users give, and for the rest what the backend chooses. It needs :meth:`load`.

        Args:
            given: what users give, by the names of ``options_type``.
            most_streams: more frames than these are never asked for at once.

        Raises:
            OptionError: a value means nothing.
            ParagonSR2Error: an option, or the value of one, is foreign to the backend.
        """
        options = self.options_type(**parse(self.options_type, given, self.name))
        device = options.device or self.default_device()
        if device.lower() not in map(str.lower, self.devices):
            raise ParagonSR2Error(f"device is {device!r}: backend {self.name!r} has {listed(self.devices)}")
        if options.precision not in (None, *self.precisions):
            raise ParagonSR2Error(f"precision is {options.precision!r}: backend {self.name!r} has {listed(self.precisions)}")
        if len(options.device_index) > 1 and not self.several_devices:
            raise ParagonSR2Error(f"device_index is {options.device_index}: backend {self.name!r} takes one")
        streams = min(options.num_streams or self.default_streams(device), most_streams)
        return replace(options, device=device, num_streams=streams)  # type: ignore[return-value]

    def default_device(self) -> str:
        """The kind of device that the backend takes where users name none."""
        return self.devices[0]

    @abstractmethod
    def default_streams(self, device: str) -> int:
        """How many frames are computed at once on a kind of device where users do not say."""

    @abstractmethod
    def device_name(self, options: O) -> str:
        """What the maker calls the device of settled options. Raises ParagonSR2Error where it is not there."""

    @abstractmethod
    def list_devices(self) -> Iterator[str]:
        """What there is to compute on, a line for each device."""

    @abstractmethod
    def open_session(self, request: Request[O]) -> AnySession:
        """Make a session ready to run. Raises ParagonSR2Error for what the user can mend."""


def check_scale(scale: int, spec: ClipSpec) -> None:
    """Raise ParagonSR2Error where a checkpoint's scale is not the one between the formats of a spec."""
    if spec.source.width * scale != spec.target.width:
        raise ParagonSR2Error(f"scale is {spec.target.width // spec.source.width}: the checkpoint's own is {scale}")


def listed(words: Iterable[str]) -> str:
    """Values as a message lists them: ``'f32', 'f16'``."""
    return ", ".join(map(repr, words))


class Session[Slot](ABC):
    """A program for one model, one kind of clip and one kind of device, shared by all clips that ask for the same.

    It holds no node, frame or core of VapourSynth. A slot is what one frame in flight needs (buffers, a stream, a request); the
    session lends its few slots to the frames that come.
    """

    device_bytes = 0
    """Memory of devices that the session holds, where it is not the host's."""

    def __init__(self, spec: ClipSpec, slots: Iterable[Slot]) -> None:
        self.spec = spec
        self.notes: deque[str] = deque()
        """What users should know of what happened inside."""
        self._slots: SimpleQueue[Slot] = SimpleQueue()
        for slot in slots:
            self._slots.put(slot)

    def run(self, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        """Compute one frame, from any thread; waits while all slots are lent.

        Args:
            planes: of ``spec.inputs``, one after the other, with their shapes and dtypes; only read.
            out: of the target, with the shapes and dtype of ``spec.target``; every sample is written.
        """
        slot = self._slots.get()
        try:
            self._run(slot, planes, out)
        finally:
            self._give_back(slot)

    def _give_back(self, slot: Slot) -> None:
        self._slots.put(slot)

    def help_until(self, done: Future[Any]) -> None:
        """Wait until a future of another thread is done, and compute parts of what other threads are at in the meantime."""
        wait([done])

    def take_notes(self) -> Iterator[str]:
        """What users should know and nobody has taken yet, from any thread."""
        while self.notes:
            try:
                yield self.notes.popleft()
            except IndexError:  # another thread took it
                return

    @abstractmethod
    def _run(self, slot: Slot, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        """Compute one frame with the slot, which nobody else has meanwhile."""
