"""Fixtures for the tests of mpv, which name this module in ``pytest_plugins``."""

from collections.abc import Iterator
from pathlib import Path

import prepare_mpv
import pytest
from films import encoded
from mpv import Mpv, Player


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
    """A film of another size and format: 8 frames of 160x96."""
    return encoded(tmp_path_factory.mktemp("other") / "other.mkv", "ffv1", "yuv422p10le", (160, 96), 8)
