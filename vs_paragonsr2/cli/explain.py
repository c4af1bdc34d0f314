"""``vs-paragonsr2 explain``: what a frame goes through, operation by operation."""

import argparse
from dataclasses import replace

import vapoursynth as vs
from rich.console import Console
from rich.table import Table

from ..checkpoints import load_checkpoint
from ..checkpoints.models import find_model
from ..clip.colorimetry import ColorimetryReader, plane_format
from ..program.colour import ClipSpec
from ..program.explain import Row, cost, explain
from ..program.fold import fold
from ..program.geometry import halo
from ..program.graph import Program
from ..support.errors import ParagonSR2Error


def add_to(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the word."""
    parser = words.add_parser("explain", help="show what is computed for a kind of clip", description=__doc__)
    parser.add_argument("--model", default="realtime", help="name of a shipped model, or a checkpoint (default: %(default)s)")
    parser.add_argument("--scale", type=int, help="of a shipped model; its smallest otherwise")
    parser.add_argument("--format", default="YUV420P8", help="VapourSynth's name of the clip's format (default: %(default)s)")
    parser.add_argument("--output-format", help="the clip's own otherwise")
    parser.add_argument("--size", default="1920x1080", help="WIDTHxHEIGHT of the clip (default: %(default)s)")
    for name in ("matrix", "color-range", "chroma-location"):
        parser.add_argument(f"--{name}", help="as of upscale(); its default otherwise")
    parser.add_argument("--temporal", action="store_true", help="detail is smoothed over earlier frames")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the table. Raises ParagonSR2Error for what there is not."""
    model = find_model(arguments.model, arguments.scale)
    checkpoint = load_checkpoint(model.path)
    if arguments.scale not in (None, checkpoint.description.scale):
        raise ParagonSR2Error(f"--scale is {arguments.scale}: the checkpoint's own is {checkpoint.description.scale}")
    program = fold(checkpoint.parts, clip_spec(checkpoint.description.scale, arguments))
    console = Console()
    rows, columns = halo(program)
    seen = "the whole picture" if program.windows else f"{columns} luma samples to the left and right, {rows} above and below"
    console.print(f"{checkpoint.description}, {arguments.format}: an output depends on {seen}.", highlight=False)
    console.print(table(program))


def clip_spec(scale: int, arguments: argparse.Namespace) -> ClipSpec:
    """The kind of clip that the arguments say. Raises ParagonSR2Error where they say nothing that there is."""
    width, _, height = arguments.size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ParagonSR2Error(f"--size is {arguments.size!r}: expected WIDTHxHEIGHT, as 1920x1080")
    source = plane_format(_format("--format", arguments.format), int(width), int(height))
    target = source
    if arguments.output_format:
        target = plane_format(_format("--output-format", arguments.output_format), int(width), int(height))
    reader = ColorimetryReader.for_clip(
        source,
        matrix=_name_or_number(arguments.matrix),
        color_range=_name_or_number(arguments.color_range),
        chroma_location=_name_or_number(arguments.chroma_location),
    )
    enlarged = replace(target, width=source.width * scale, height=source.height * scale)
    return ClipSpec(source, enlarged, reader.read({}), arguments.temporal)


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


def _name_or_number(word: str | None) -> str | int | None:
    """Matrices have names of digits, as 709; what is one digit is a number of H.273."""
    return int(word) if word is not None and len(word) == 1 and word.isdecimal() else word


def _format(option: str, name: str) -> vs.VideoFormat:
    fmt = getattr(vs, name, None)
    if not isinstance(fmt, vs.PresetVideoFormat):
        raise ParagonSR2Error(f"{option} is {name!r}: expected VapourSynth's name of a format, as YUV420P8")
    return vs.core.get_video_format(fmt)
