"""What all benchmarks share: work that is timed in turn, medians, the machine, and results as tables and JSON.

It uses the standard library alone: a comparison of processes has to stay small, and a card is checked where little is installed.
"""

import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import vapoursynth as vs

PACKAGES = ("vs_paragonsr2", "numpy", "openvino", "torch", "vapoursynth")
"""Distributions whose versions decide about speed."""


@dataclass(frozen=True)
class Machine:
    """What ran a benchmark."""

    processor: str
    processors: int
    """Logical processors of the machine."""
    system: str
    python: str
    packages: tuple[str, ...]
    """Names and versions of what decides about speed."""

    def __str__(self) -> str:
        return f"{self.processor}, {self.processors} processors, {self.system}, Python {self.python}, {', '.join(self.packages)}"


def machine() -> Machine:
    """This machine."""
    packages = tuple(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    return Machine(_processor(), os.cpu_count() or 1, platform.platform(terse=True), platform.python_version(), packages)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's model, by Linux's list of them; elsewhere whatever Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


@dataclass(frozen=True)
class Spent:
    """Seconds that some work took."""

    elapsed: float
    processor: float
    """The time of all threads of the process together, which other programs and the number of cores change little."""


def spent(work: Callable[[], object]) -> Spent:
    """Do some work, and say what it took."""
    began, worked = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - began, time.process_time() - worked)


def exhaust(clip: "vs.VideoNode", ahead: int | None = None) -> None:
    """Ask for all frames of a clip, ``ahead`` of them at once; None asks for as many as VapourSynth has threads."""
    for _ in clip.frames(prefetch=ahead, close=True):
        pass


def in_turn[T](works: Sequence[Callable[[], T]], rounds: int, warm_ups: int = 0) -> list[list[T]]:
    """Do each work once a round, one after the other and every second round backwards, so that what drifts favours none.

    Args:
        works: what is to be compared; each returns what it measured.
        rounds: how often each is done and counted.
        warm_ups: rounds before those that do not count.

    Returns:
        For each work what it returned in the rounds that count.
    """
    found: list[list[T]] = [[] for _ in works]
    for number in range(-warm_ups, rounds):
        order = range(len(works)) if number % 2 == 0 else reversed(range(len(works)))
        for index in order:
            result = works[index]()
            if number >= 0:
                found[index].append(result)
    return found


def median[T](results: Iterable[T], measure: Callable[[T], float]) -> float:
    """The median of one measure over results."""
    return statistics.median(map(measure, results))


def report(title: str, rows: Sequence[Any], path: Path | None, shown: Sequence[Any] | None = None) -> None:
    """Print the machine and a table on stdout, and write JSON.

    Args:
        title: what was measured.
        rows: dataclasses; JSON has their fields and properties.
        path: the file for JSON; None writes none.
        shown: other rows for the table; None shows the same.
    """
    where = machine()
    print(f"{where}\n\n{title}\n\n{table(rows if shown is None else shown)}", flush=True)
    if path:
        write_json(path, {"title": title, "machine": where, "rows": rows})


def write_json(path: Path, value: object) -> None:
    """Write dataclasses, and what contains them, as JSON."""
    path.write_text(json.dumps(plain(value), indent=1) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """A value of JSON: a dataclass becomes an object of its fields and properties, and a number that is not finite becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def table(rows: Sequence[Any]) -> str:
    """Dataclasses as lines of text below the names of what they have: numbers and words, and nothing for all else."""
    values = [{name: getattr(row, name) for name in _names(type(row)) if _is_shown(getattr(row, name))} for row in rows]
    names = list(dict.fromkeys(name for row in values for name in row))
    cells = [[name.replace("_", " ") for name in names], *([_cell(row.get(name)) for name in names] for row in values)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    words = [any(isinstance(row.get(name), str) for row in values) for name in names]
    lines = (
        "  ".join(cell.ljust(width) if word else cell.rjust(width) for cell, width, word in zip(line, widths, words, strict=True))
        for line in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def _names(kind: type[Any]) -> Iterator[str]:
    """The fields of a dataclass, then its properties."""
    yield from (field.name for field in fields(kind))
    yield from (name for name, value in vars(kind).items() if isinstance(value, property))


def _is_shown(value: object) -> bool:
    return isinstance(value, str | int | float)


def _cell(value: object) -> str:
    """A float by four digits that count, a whole number whole, and nothing for None."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        digits = 3 - math.floor(math.log10(abs(value))) if value else 0
        return f"{value:,.{min(max(digits, 0), 6)}f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)


def note(words: str) -> None:
    """Say something while a benchmark runs, where it does not mix with the results."""
    print(words, file=sys.stderr, flush=True)
