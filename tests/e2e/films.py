"""Films for the tests of mpv, encoded and decoded again."""

from fractions import Fraction
from pathlib import Path

import av
from conftest import CLIPS

FLOWER = CLIPS / "flower_960x540.mp4"


def encoded(path: Path, codec: str, pixels: str, size: tuple[int, int], frames: int) -> Path:
    """The flower's first frames, scaled to the size and encoded."""
    with av.open(str(FLOWER)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.gop_size = 5  # an exact seek sends all frames since the last key frame through the filter
        for _, frame in zip(range(frames), source.decode(video=0), strict=False):
            scaled = frame.reformat(*size, format=pixels)
            scaled.pts, scaled.time_base = frame.pts, frame.time_base
            out.mux(stream.encode(scaled))
        out.mux(stream.encode())
    return path


def decoded(path: Path) -> list[av.VideoFrame]:
    """All frames of a film."""
    with av.open(str(path)) as source:
        return list(source.decode(video=0))
