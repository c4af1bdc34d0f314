"""Players and films for the tests of mpv: a plugin of pytest's."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import prepare_mpv
import pytest
from conftest import CLIPS
from mpv import Mpv

FLOWER = CLIPS / "flower_960x540.mp4"

type Player = Callable[..., Mpv]


@pytest.fixture(scope="session")
def program() -> list[str]:
    return prepare_mpv.mpv_command()


@pytest.fixture
def player(program: list[str], tmp_path: Path) -> Iterator[Player]:
    players: list[Mpv] = []

    def start(*options: object, **environment: str) -> Mpv:
        folder = tmp_path / f"player{len(players)}"
        folder.mkdir()
        players.append(Mpv(program, folder, *options, environment=environment))
        return players[-1]

    yield start
    for each in players:
        each.close()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flower, smaller: 30 frames of 256x144, at 30000/1001 a second, every fifth a key frame."""
    return encoded(tmp_path_factory.mktemp("small") / "small.mp4", "libx264", "yuv420p", (256, 144), 30)


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of another size and format."""
    return encoded(tmp_path_factory.mktemp("other") / "other.mkv", "ffv1", "yuv422p10le", (160, 96), 8)


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
