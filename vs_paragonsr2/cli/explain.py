"""``vs-paragonsr2 explain``: what a frame goes through, operation by operation."""

import argparse

from rich.console import Console
from rich.table import Table

from ..program.explain import Row, cost, explain
from ..program.fold import fold
from ..program.geometry import place
from ..program.program import Program
from .clip_arguments import add_clip_arguments, clip_spec, open_checkpoint


def add_to(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the word."""
    parser = words.add_parser("explain", help="show what is computed for a kind of clip", description=__doc__)
    parser.add_argument("--model", default="realtime", help="name of a shipped model, or a checkpoint (default: %(default)s)")
    parser.add_argument("--scale", type=int, help="scale of a shipped model (default: its smallest)")
    add_clip_arguments(parser)
    parser.add_argument("--temporal", action="store_true", help="detail is smoothed over earlier frames")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the table. Raises ParagonSR2Error where a model or a kind of clip does not exist."""
    _, checkpoint = open_checkpoint(arguments.model, arguments.scale)
    program = fold(checkpoint.parts, clip_spec(checkpoint.description.scale, arguments, temporal=arguments.temporal))
    console = Console()
    rows, columns = place(program).halo
    seen = "the whole picture" if program.windows else f"{columns} luma samples to the left and right, {rows} above and below"
    console.print(f"{checkpoint.description}, {arguments.format}: an output depends on {seen}.", highlight=False)
    console.print(table(program))


def table(program: Program) -> Table:
    """A row for each operation, and what all cost together."""
    found = Table(caption="Costs are for each luma sample of the source; a number between two operations takes four bytes.")
    for column in ("", "operation", "", "of", "channels", "samples", "multiply-adds", "bytes", "reach"):
        found.add_column(column, justify="left" if column in ("operation", "") else "right")
    for row in explain(program):
        found.add_row(*_cells(row))
    total = cost(program)
    found.add_section()
    found.add_row(
        "", f"{total.operations} operations", "", "", "", "", f"{total.multiply_adds:,.0f}", f"{total.bytes_moved:,.0f}", ""
    )
    return found


def _cells(row: Row) -> list[str]:
    reach = "whole" if row.reach is None else str(row.reach)
    products = f"{row.multiply_adds:,.0f}" if row.multiply_adds else ""
    sources = ", ".join(map(str, row.sources))
    density = " x ".join(map(str, row.density))
    return [str(row.number), row.name, row.what, sources, str(row.channels), density, products, _bytes(row.bytes_moved), reach]


def _bytes(value: float) -> str:
    return f"{value:,.1f}" if value % 1 and value < 10 else f"{value:,.0f}"
