"""The order of the acts, and what is read between them."""

import faulthandler
import gc
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
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
from .resources import Reading, Sampler, reading

type Act = Callable[[Checker, random.Random], None]

PLAYED: dict[str, Act] = dict(zip(ACTS, (play, seeks, sizes, kills, full_disks), strict=True))
"""What each act does."""

HANG_S = 900
"""Seconds after which an act counts as one that hangs: the process says where its threads are, and ends with status 1."""


def soak(minutes: float, seed: int, names: Sequence[str]) -> Result:
    """Play each act once, the sizes all of them, then rounds of all acts in random order until the time is up, one at least.

    What the process takes is read at rest: when all acts have been played once, in the middle of the rest of the time, and at the
    end. No clip is open then, no session is kept, and VapourSynth's cache is empty.

    Args:
        minutes: in which no further act begins.
        seed: of all that is drawn at random.
        names: of the acts.
    """
    if not HAS_LIMITS:
        note("soak: full-disks is left out, since this system has no limit for the size of files")
        names = [name for name in names if name != "full-disks"]
    rng, checker, began = random.Random(seed), Checker(), time.perf_counter()
    end = began + 60 * minutes
    with tempfile.TemporaryDirectory() as name, Sampler(every=min(1.0, 60 * minutes / 100)) as sampler:
        folder = use(Path(name))

        def act(name: str, played: Act) -> None:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            checker.begin(name)
            played(checker, rng)
            faulthandler.cancel_dump_traceback_later()

        def at_rest() -> tuple[float, Reading]:
            SESSIONS.clear()
            gc.collect()
            vs.core.clear_cache()
            return time.perf_counter() - began, reading(folder)

        for name in names:
            act(name, partial(sizes, count=len(FILMS)) if name == "sizes" else PLAYED[name])
        readings = [at_rest()]
        middle = (time.perf_counter() + end) / 2
        rounds = 0
        while rounds == 0 or time.perf_counter() < end:
            for name in rng.sample(names, len(names)):
                if rounds == 0 or time.perf_counter() < end:
                    act(name, PLAYED[name])
                if len(readings) == 1 and time.perf_counter() > middle:
                    readings.append(at_rest())
            rounds += 1
            total = checker.total
            note(f"{(time.perf_counter() - began) / 60:.1f} min: {total.asked:,} frames asked for, {total.wrong} wrong")
        readings.append(at_rest())
    return Result(checker.counts, checker.faults, readings, sampler.samples)


def use(folder: Path) -> Path:
    """Have this process and those that it starts keep temporary files and the cache in a folder."""
    temporary, cache = folder / "temporary", folder / "cache"
    temporary.mkdir()
    os.environ |= {FOLDER_VARIABLE: str(cache), **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
    tempfile.tempdir = str(temporary)
    return folder
