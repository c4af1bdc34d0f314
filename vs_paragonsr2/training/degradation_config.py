"""``datasets.train.degradation`` of a training configuration."""

from dataclasses import dataclass, field
from typing import ClassVar

from ..support.errors import ParagonSR2Error


@dataclass(kw_only=True)
class Codec:
    """One entry of ``datasets.train.degradation.codecs``. ``type`` is the name of FFmpeg's encoder."""

    NAMES: ClassVar[tuple[str, ...]] = ("libx264", "mpeg2video", "mjpeg")
    type: str
    quality: list[float]
    """Least and greatest CRF for libx264 (0 to 51), or quantiser for the others (2 to 31)."""
    weight: float = 1.0
    """How many of the degraded sequences this entry is used for, relative to the other entries."""


@dataclass(kw_only=True)
class Degradation:
    """``datasets.train.degradation``, ours: how sources are made to look compressed (see ``degradations.py``)."""

    codecs: list[Codec]
    clean_prob: float = 0.15
    """Share of patches that are left clean."""
    frames: int = 6
    """Number of frames in a sequence, one of which is used."""
    frame_size: int = 96
    """Side of a frame in low-resolution pixels. Times ``scale``, it has to be smaller than the pictures, in which it moves."""
    resize_prob: float = 0.3
    """Share of sequences that are resized by Lanczos first."""
    resize_range: list[float] = field(default_factory=lambda: [0.7, 1.5])
    """Least and greatest size to which they are resized first, relative to ``frame_size``."""
    pool_size: int = 384
    """Number of samples from which batches are drawn."""
    refresh: int = 2
    """Number of samples that are replaced at each step."""


def check_degradation(options: Degradation, lq_size: int) -> None:
    """Raise ParagonSR2Error for numbers that cannot be used with patches of ``lq_size`` pixels."""
    place = "datasets.train.degradation"
    for key, value, right in (
        ("clean_prob", options.clean_prob, 0 <= options.clean_prob <= 1),
        ("resize_prob", options.resize_prob, 0 <= options.resize_prob <= 1),
    ):
        if not right:
            raise ParagonSR2Error(f"{place}.{key} is {value}: expected 0 to 1")
    for key, number in (("frames", options.frames), ("pool_size", options.pool_size), ("refresh", options.refresh)):
        if number < 1:
            raise ParagonSR2Error(f"{place}.{key} is {number}: expected 1 or more")
    if options.frame_size < max(16, lq_size) or options.frame_size % 4:
        raise ParagonSR2Error(f"{place}.frame_size is {options.frame_size}: expected a multiple of 4, from {max(16, lq_size)} up")
    if not _is_span(options.resize_range, 0.25, 4):
        raise ParagonSR2Error(f"{place}.resize_range is {options.resize_range}: expected two rising numbers from 0.25 to 4")
    if not options.codecs:
        raise ParagonSR2Error(f"{place}.codecs is empty: expected at least one codec")
    for i, codec in enumerate(options.codecs):
        least, most = (0, 51) if codec.type == "libx264" else (2, 31)
        if not _is_span(codec.quality, least, most):
            raise ParagonSR2Error(
                f"{place}.codecs[{i}].quality is {codec.quality}: expected two rising numbers from {least} to {most}"
            )
        if not 0 < codec.weight < float("inf"):
            raise ParagonSR2Error(f"{place}.codecs[{i}].weight is {codec.weight}: expected a number above 0")


def _is_span(values: list[float], least: float, most: float) -> bool:
    """Whether the values are two, in rising order, from ``least`` to ``most``."""
    return len(values) == 2 and least <= values[0] <= values[1] <= most
