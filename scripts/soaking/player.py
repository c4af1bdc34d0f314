"""Acts of players and previewers, in this process."""

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

import vapoursynth as vs
from benchmarks.player import BUFFERED, Buffer

from vs_paragonsr2 import upscale

from .checker import PATIENCE_S, Checker
from .films import FILMS, Film

TEMPORAL = 5
"""Earlier frames of the published video mode."""

PAUSE_S = 0.2
"""Seconds of a pause."""


def play(checker: Checker, rng: random.Random) -> None:
    """Play three films of other sizes, one after the other, with a seek in each: the script runs again, as in mpv."""
    for film in rng.sample(FILMS, 3):
        for _ in range(2):
            frames = rng.randrange(6, 18)
            watch(checker, film, rng.randrange(film.length), frames, rng.randrange(1, 5), pause=rng.randrange(2 * frames))


def watch(checker: Checker, film: Film, first: int, frames: int, ahead: int, pause: int) -> None:
    """Run a script on a film from its frame ``first`` on, and show so many frames at the film's rate.

    A frame is late that comes after the time of its display, which the first one decides, and after a pause the next one.

    Args:
        ahead: how many frames are asked for ahead.
        pause: the frame that is shown for longer; one that does not come means no pause.
    """
    numbers = [(first + n) % film.length for n in range(frames)]
    checker.prepare(film, 0, numbers)
    buffer = Buffer(film.source(), first, BUFFERED * ahead)
    asked: deque[Future[vs.VideoFrame]] = deque()
    try:
        shown = upscale(buffer.node, "auto", playback_fps=film.fps)
        asked.extend(shown.get_frame_async(n) for n in range(ahead))
        due = None
        for n, number in enumerate(numbers):
            future = asked.popleft()
            wait([future], PATIENCE_S)
            now = time.perf_counter()
            due = now if due is None else due + 1 / film.fps
            checker.frame(film, 0, number, partial(future.result, 0), late=now > due)
            time.sleep(max(0.0, due - time.perf_counter()))
            if n == pause:
                time.sleep(PAUSE_S)
                due = None
            asked.append(shown.get_frame_async(n + ahead))
    finally:
        wait(asked, PATIENCE_S)
        buffer.close()


def sizes(checker: Checker, rng: random.Random, count: int = 10) -> None:
    """Run the script for so many films, each in its own size, and ask for two frames of each as a previewer does."""
    for film in rng.sample(FILMS, count):
        numbers = rng.sample(range(film.length), 2)
        checker.prepare(film, 0, numbers)
        result = film.upscaled(0)
        for n in numbers:
            checker.frame(film, 0, n, partial(result.get_frame, n))


def seeks(checker: Checker, rng: random.Random) -> None:
    """Seek in a film from eight threads, with a pause; temporal mode is on half of the time, and repeats always are."""
    seek(checker, rng, rng.choice(FILMS[:-1]), rng.choice((0, TEMPORAL)), count=500, threads=8)


def seek(checker: Checker, rng: random.Random, film: Film, temporal: int, count: int, threads: int) -> None:
    """Ask one script for ``count`` frames in random order, from several threads at once, with a pause in the middle."""
    checker.prepare(film, temporal)
    result = film.upscaled(temporal)
    numbers = [rng.randrange(film.length) for _ in range(count)]
    with ThreadPoolExecutor(threads) as pool:
        for burst in (numbers[: count // 2], numbers[count // 2 :]):
            shares = [burst[thread::threads] for thread in range(threads)]
            work = partial(ask, checker, film, temporal, result)
            for _ in pool.map(work, shares, [rng.getrandbits(32) for _ in shares]):
                pass
            time.sleep(PAUSE_S)


def ask(checker: Checker, film: Film, temporal: int, result: vs.VideoNode, numbers: Sequence[int], seed: int) -> None:
    """Ask for frames in one thread: half of them by ``get_frame``, the others by ``get_frame_async``, up to four at once."""
    rng, pending = random.Random(seed), deque[tuple[int, Callable[[], vs.VideoFrame]]]()
    for n in numbers:
        if rng.random() < 0.5:
            checker.frame(film, temporal, n, partial(result.get_frame, n))
        else:
            pending.append((n, partial(result.get_frame_async(n).result, PATIENCE_S)))
        while len(pending) > 3:
            checker.frame(film, temporal, *pending.popleft())
    for waiting in pending:
        checker.frame(film, temporal, *waiting)
