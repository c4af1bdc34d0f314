"""What a soak found: tables, a plot, and whether all is well."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .checker import Counts
from .resources import HAS_PROC, Reading

GROWTH = {"memory": 32.0, "descriptors": 2, "threads": 2, "files": 0}
"""What may have come at the end: of memory, in MiB, since the middle, of all else since the start.

Memory is measured from the middle since allocators and caches fill up at first.
"""


@dataclass(frozen=True)
class Result:
    """What a soak found."""

    counts: Mapping[str, Counts]
    """What each act gave."""
    faults: Sequence[str]
    """The first ones, in words."""
    readings: Sequence[Reading]
    """At the start, in the middle and at the end."""
    samples: Sequence[tuple[float, float]]
    """Resident memory over time: seconds since the beginning, and MiB."""

    @property
    def grown(self) -> list[str]:
        """The names of what has grown beyond its bound."""
        return [name for name in GROWTH if (growth := self.growth(name)) is not None and growth > GROWTH[name]]

    def growth(self, name: str) -> float | None:
        """By how much one of ``GROWTH`` has grown; None where the system does not say what there is of it."""
        start, middle, end = (getattr(reading, name) for reading in self.readings)
        before = middle if name == "memory" else start
        return None if before is None else end - before

    @property
    def verdict(self) -> str:
        """What is wrong, in one line; "" where nothing is, and nothing has grown beyond its bound."""
        wrong = sum(counts.wrong for counts in self.counts.values())
        found = [f"{wrong} wrong"] if wrong else []
        return ", ".join(found + [f"{name} beyond the bound" for name in self.grown])


def report(result: Result) -> None:
    """Print the tables and the first faults on stdout."""
    console = Console()
    console.print(frames_table(result), resources_table(result))
    if not HAS_PROC:
        console.print("Only Linux says in a way that is read here what a process takes: all but the files is unknown.")
    for fault in result.faults:
        console.print(fault, markup=False, highlight=False, soft_wrap=True)


def frames_table(result: Result) -> Table:
    """A row for each act and one for all together: how often it was played, and frames asked for, wrong and late."""
    table = Table(*("act", "times", "frames asked for", "wrong", "late"), title="Frames", show_footer=True)
    for name, counts in result.counts.items():
        table.add_row(name, *(f"{count:,}" for count in astuple(counts)))
    table.columns[0].footer = "all"
    for column, totals in zip(table.columns[1:], zip(*map(astuple, result.counts.values()), strict=True), strict=True):
        column.footer, column.justify = f"{sum(totals):,}", "right"
    return table


def resources_table(result: Result) -> Table:
    """What the process took at the start, in the middle and at the end, and the bound that holds for the end."""
    peak = max((mib for _, mib in result.samples), default=None)
    caption = "At rest: no clip is open, no session is kept." + ("" if peak is None else f" In between: {peak:,.0f} MiB at most.")
    table = Table(*("at rest", "start", "middle", "end", "end at most", ""), title="Resources", caption=caption)
    table.add_row("minutes", *(_cell(reading.seconds / 60) for reading in result.readings), end_section=True)
    for name, growth in GROWTH.items():
        values = [getattr(reading, name) for reading in result.readings]
        bound = None if values[0] is None else values[1 if name == "memory" else 0] + growth
        verdict = "" if bound is None else "beyond" if name in result.grown else "within"
        table.add_row("memory, MiB" if name == "memory" else name, *map(_cell, [*values, bound]), verdict)
    for column in table.columns[1:-1]:
        column.justify = "right"
    return table


def _cell(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def plot(result: Result, picture: Path) -> None:
    """Plot resident memory over time into a PNG, with what there was at rest."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*_columns([(seconds / 60, mib) for seconds, mib in result.samples]), linewidth=0.8, label="while it ran")
    at_rest = [(reading.seconds / 60, reading.memory) for reading in result.readings if reading.memory is not None]
    axes.plot(*_columns(at_rest), "o", label="at rest")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident memory, MiB")
    figure.savefig(picture, format="png", dpi=120)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
