"""What the process takes: memory, descriptors, threads and temporary files, as Linux says under ``/proc``."""

import mmap
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

HAS_PROC = sys.platform == "linux"
"""Whether the system says what a process takes in a way that is read here."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the process took at one moment. None stands for what the system does not say."""

    seconds: float
    """Since the beginning."""
    memory: float | None
    """Resident memory in MiB."""
    descriptors: int | None
    threads: int | None
    files: int
    """Temporary files and those of the cache."""


def read(folder: Path, began: float) -> Reading:
    """What the process takes now.

    Args:
        folder: where its temporary files and its cache are.
        began: the moment of the beginning, by ``time.perf_counter``.
    """
    seconds, files = time.perf_counter() - began, sum(path.is_file() for path in folder.rglob("*"))
    if not HAS_PROC:
        return Reading(seconds, None, None, None, files)
    descriptors, threads = (sum(1 for _ in Path("/proc/self", name).iterdir()) for name in ("fd", "task"))
    return Reading(seconds, resident(), descriptors, threads, files)


def resident() -> float:
    """Resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * mmap.PAGESIZE / 2**20


class Sampler:
    """Notes the resident memory every so often, in a thread of its own, inside ``with``.

    Args:
        every: seconds from one sample to the next.
    """

    def __init__(self, every: float) -> None:
        self.samples: list[tuple[float, float]] = []
        """Seconds since the beginning, and MiB. Nothing comes where the system does not say."""
        self._every = every
        self._end = Event()
        self._thread = Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.perf_counter()
        while HAS_PROC:
            self.samples.append((time.perf_counter() - began, resident()))
            if self._end.wait(self._every):
                return
