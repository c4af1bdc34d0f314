"""The arguments by which several words of the command are told a model and a kind of clip."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoints import Checkpoint, load_checkpoint
from ..checkpoints.models import find_model
from ..program.colour import ClipSpec
from ..support.errors import ParagonSR2Error

if TYPE_CHECKING:
    import vapoursynth as vs

    type Arguments = "argparse.ArgumentParser | argparse._ArgumentGroup"


def add_clip_arguments(parser: "Arguments") -> None:
    """Add what says which kind of clip is meant."""
    parser.add_argument("--size", default="1920x1080", help="WIDTHxHEIGHT of the clip (default: %(default)s)")
    parser.add_argument("--format", default="YUV420P8", help="VapourSynth's name of the clip's format (default: %(default)s)")
    parser.add_argument("--output-format", help="the name of another format (default: the clip's own)")
    for name in ("matrix", "color-range", "chroma-location"):
        parser.add_argument(f"--{name}", help="as in upscale()")


def open_checkpoint(model: str, scale: int | None) -> tuple[Path, Checkpoint]:
    """The file of a shipped model or of a checkpoint, and what it holds.

    Raises:
        ParagonSR2Error: there is no such model or file, it cannot be read, or it has another scale.
    """
    path = find_model(model, scale).path
    checkpoint = load_checkpoint(path)
    if scale not in (None, checkpoint.description.scale):
        raise ParagonSR2Error(f"--scale is {scale}: the checkpoint's own is {checkpoint.description.scale}")
    return path, checkpoint


def clip_spec(scale: int, arguments: argparse.Namespace, *, temporal: bool = False) -> ClipSpec:
    """The kind of clip that the arguments name, enlarged ``scale`` times.

    Args:
        scale: the network's.
        arguments: what :func:`add_clip_arguments` has added.
        temporal: whether the detail is smoothed over earlier frames.

    Raises:
        ParagonSR2Error: an argument has a value that means nothing, or does not go with another.
    """
    from ..clip.colorimetry import ColorimetryReader, plane_format

    width, _, height = arguments.size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ParagonSR2Error(f"--size is {arguments.size!r}: expected WIDTHxHEIGHT, as 1920x1080")
    source = target = plane_format(_format("--format", arguments.format), int(width), int(height))
    if arguments.output_format:
        target = plane_format(_format("--output-format", arguments.output_format), int(width), int(height))
    reader = ColorimetryReader.for_clip(
        source,
        matrix=_name_or_number(arguments.matrix),
        color_range=_name_or_number(arguments.color_range),
        chroma_location=_name_or_number(arguments.chroma_location),
    )
    enlarged = replace(target, width=source.width * scale, height=source.height * scale)
    return ClipSpec(source, enlarged, reader.read({}), temporal)


def _name_or_number(word: str | None) -> str | int | None:
    """Matrices have names of digits, as 709; a single digit is a number of H.273."""
    return int(word) if word is not None and len(word) == 1 and word.isdecimal() else word


def _format(option: str, name: str) -> "vs.VideoFormat":
    import vapoursynth as vs

    fmt = getattr(vs, name, None)
    if not isinstance(fmt, vs.PresetVideoFormat):
        raise ParagonSR2Error(f"{option} is {name!r}: expected VapourSynth's name of a format, as YUV420P8")
    return vs.core.get_video_format(fmt)
