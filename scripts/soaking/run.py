"""The order of the acts, and what is read between them."""

import faulthandler
import gc
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import vapoursynth as vs
from benchmarks.harness import note

from vs_paragonsr2.backends.sessions import SESSIONS
from vs_paragonsr2.support.cache_folder import FOLDER_VARIABLE

from . import ACTS
from .checker import Checker
from .encoder import HAS_LIMITS, full_disks, kills
from .films import FILMS
from .player import play, seeks, sizes
from .report import Result
from .resources import Sampler, read

type Act = Callable[[Checker, random.Random], None]

PLAYED: dict[str, Act] = dict(zip(ACTS, (play, seeks, sizes, kills, full_disks), strict=True))
"""What each act does."""

HANG_S = 900
"""Seconds after which an act counts as one that hangs: the process says where its threads are, and ends with status 1."""


def soak(minutes: float, seed: int, names: Sequence[str]) -> Result:
    """Play each act once, the sizes all of them, then rounds of all acts in random order until the time is up, one at least.

    What the process takes is read when all acts have been played once, in the middle of the rest of the time, and at the end.

    Args:
        minutes: after which no act begins, once each has been played twice.
        seed: of all that is drawn at random.
        names: of the acts.
    """
    if not HAS_LIMITS and "full-disks" in names:
        note("soak: full-disks is left out, since this system has no limit for the size of files")
        names = [name for name in names if name != "full-disks"]
    rng, checker, began = random.Random(seed), Checker(), time.perf_counter()
    end = began + 60 * minutes
    with own_folder() as folder, Sampler(every=min(1.0, 60 * minutes / 100)) as sampler:
        for name in names:
            with act(checker, name):
                PLAYED[name](checker, rng) if name != "sizes" else sizes(checker, rng, len(FILMS))
        rest()
        readings = [read(folder, began)]
        middle = (time.perf_counter() + end) / 2
        for name in agenda(rng, names, end):
            with act(checker, name):
                PLAYED[name](checker, rng)
            if len(readings) == 1 and time.perf_counter() > middle:
                rest()
                readings.append(read(folder, began))
        rest()
        readings.append(read(folder, began))
    return Result(checker.counts, checker.faults, readings, sampler.samples)


def agenda(rng: random.Random, names: Sequence[str], end: float) -> Iterator[str]:
    """The acts of one round in random order, then of further rounds until the moment ``end``."""
    yield from rng.sample(names, len(names))
    while time.perf_counter() < end:
        for name in rng.sample(names, len(names)):
            if time.perf_counter() < end:
                yield name


@contextmanager
def act(checker: Checker, name: str) -> Iterator[None]:
    """Around an act: its frames are counted under its name. A script that fails is a fault, and what hangs ends the process."""
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    checker.begin(name)
    try:
        yield
    except vs.Error as error:
        checker.fault(str(error))
    finally:
        faulthandler.cancel_dump_traceback_later()
    counts = checker.counts[name]
    note(f"{name}: {counts.asked:,} frames asked for so far, {counts.wrong} wrong")


def rest() -> None:
    """Free what a process may keep between two scripts: the sessions, and the frames in VapourSynth's cache."""
    SESSIONS.clear()
    gc.collect()
    vs.core.clear_cache()


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder in which this process and those that it starts keep temporary files and the cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        temporary = folder / "temporary"
        temporary.mkdir()
        os.environ |= {FOLDER_VARIABLE: str(folder / "cache"), **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
        tempfile.tempdir = str(temporary)
        yield folder
