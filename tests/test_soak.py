"""A minute of the soak, and that it sees what it looks for: wrong frames, late frames, ends that should not be, and what grows."""

import io
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import vapoursynth as vs
from bootstrap import ROOT
from soaking import ACTS, encoder, player, report, resources
from soaking.checker import Checker, Counts
from soaking.films import FILMS, SCALE, SIZES, Film

from vs_paragonsr2.backends import Session
from vs_paragonsr2.clip.frames import planes_of

TINY = Film(SIZES + 1, 16, 12, vs.GRAY8)

START = """
import sys
sys.path[:0] = [{scripts!r}, {root!r}]
{faults}
import soak
sys.argv = ["soak.py", *{arguments!r}]
soak.main()
"""
"""Runs the script in a process whose filter has faults."""

WRONG_FRAMES = """
from vs_paragonsr2.backends.openvino.session import OpenVINOSession
run, runs = OpenVINOSession._run, []
def wrong_now_and_then(self, slot, planes, out):
    run(self, slot, planes, out)
    runs.append(None)
    if len(runs) % 20 == 0:
        out[0][-1, -1] ^= 1
OpenVINOSession._run = wrong_now_and_then
"""

LEAKS = """
import os, tempfile, threading
from soaking import player
upscale, kept = player.upscale, []
def leaking(*arguments, **options):
    kept.extend([b"a" * (8 << 20), *(os.open(os.devnull, os.O_RDONLY) for _ in range(3))])
    tempfile.mkstemp()
    for _ in range(3):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    return upscale(*arguments, **options)
player.upscale = leaking
"""


def soak(*arguments: object, faults: str = "") -> subprocess.CompletedProcess[str]:
    code = START.format(scripts=str(ROOT / "scripts"), root=str(ROOT), faults=faults, arguments=[*map(str, arguments)])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)


def rows(table: str) -> dict[str, list[str]]:
    """The cells of the lines of a table, by the first one."""
    lines = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in table.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if cells}


@pytest.fixture
def checker() -> Checker:
    checker = Checker()
    checker.begin("act")
    return checker


def test_a_minute(tmp_path: Path) -> None:
    picture = tmp_path / "memory.png"
    done = soak("--minutes", 1, "--plot", picture)
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(done.stdout)
    for act in ACTS if encoder.HAS_LIMITS else ACTS[:-1]:
        times, asked, wrong, late = (int(cell.replace(",", "")) for cell in found[act])
        assert times >= 2 and asked > 2 * times and wrong == 0
        assert late == 0 or act == "play"
    assert int(found["all"][1].replace(",", "")) > 1000
    if resources.HAS_PROC:
        assert [found[name][-1] for name in ("memory, MiB", "descriptors", "threads", "files")] == ["within"] * 4
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """An item for each frame that a session computes."""
    computed: list[None] = []
    run = Session.run

    def noted(self: Session[object], *arguments: object) -> None:
        computed.append(None)
        run(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "run", noted)
    yield computed


def test_ten_thousand_seeks_from_eight_threads(checker: Checker, runs: list[None]) -> None:
    """With temporal mode and repeats, half of them by ``get_frame_async``; many are computed, and others repeat those."""
    player.seek(checker, random.Random(0), TINY, player.TEMPORAL, count=10_000, threads=8)
    assert checker.counts["act"] == Counts(times=1, asked=10_000)
    assert 3_000 < len(runs) < 8_000


def test_wrong_frames_and_what_grows_are_seen() -> None:
    """In the round that follows the first acts; the status is 1."""
    done = soak("--minutes", 0.001, "--acts", "play", "play", faults=WRONG_FRAMES + LEAKS)
    assert done.returncode == 1
    found = rows(done.stdout)
    assert int(found["play"][2]) > 0
    assert re.search(r"^play: film \d+ .*: frame \d+ differs$", done.stdout, re.MULTILINE)
    verdict = r"soak: \d+ wrong"
    for name in report.GROWTH if resources.HAS_PROC else ["files"]:
        assert found["memory, MiB" if name == "memory" else name][-1] == "beyond"
        verdict += f", {name} beyond the bound"
    assert re.fullmatch(verdict, done.stderr.splitlines()[-1])


def test_growth_is_that_of_memory_since_the_middle_and_of_all_else_since_the_start() -> None:
    def grown(*readings: tuple[float, int, int, int]) -> list[str]:
        return report.Result({}, [], [resources.Reading(0, *reading) for reading in readings], []).grown

    assert grown((100, 6, 5, 3), (200, 9, 9, 9), (232, 8, 7, 3)) == []
    assert grown((100, 6, 5, 3), (200, 9, 9, 9), (232.1, 9, 8, 4)) == ["memory", "descriptors", "threads", "files"]


def test_a_system_that_says_nothing_of_a_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (resources, report):
        monkeypatch.setattr(module, "HAS_PROC", False)
    readings = [resources.read(tmp_path, 0) for _ in range(2)]
    (tmp_path / "left").touch()
    result = report.Result({"act": Counts(1, 2)}, [], [*readings, resources.read(tmp_path, 0)], [])
    assert result.verdict == "files beyond the bound"
    report.report(result)
    printed = capsys.readouterr().out
    assert rows(printed)["threads"] == ["unknown"] * 4 + [""]
    assert "Only Linux says" in printed


@pytest.mark.parametrize(("fps", "late"), [(0.5, 0), (1e6, 1)])
def test_late_frames_are_counted(fps: float, late: int, checker: Checker) -> None:
    """The second one of two frames, at a rate that every machine holds and at one that none does."""
    player.watch(checker, replace(TINY, fps=fps), first=47, frames=2, ahead=1, pause=2)
    assert checker.counts["act"] == Counts(times=1, asked=2, late=late)


def test_after_a_pause_the_clock_begins_anew(checker: Checker) -> None:
    """The pause is as long as a frame is shown."""
    player.watch(checker, replace(TINY, fps=1 / player.PAUSE_S), first=0, frames=2, ahead=2, pause=0)
    assert checker.counts["act"] == Counts(times=1, asked=2, late=0)


def test_films_are_of_forty_sizes_and_formats_that_a_stream_can_have() -> None:
    assert len({(film.width, film.height) for film in FILMS[:-1]}) == SIZES
    for film in FILMS:
        source = film.source()
        assert (source.width, source.height, source.num_frames) == (film.width, film.height, film.length)
        assert source.format.id == film.format
        assert source.get_frame(film.length - 1).props["number"] == film.length - 1
        enlarged = source.resize.Point(SCALE * film.width, SCALE * film.height).get_frame(0)
        assert film.frame_bytes == sum(plane.nbytes for plane in planes_of(enlarged))


def test_an_encoder_that_ends_too_early_is_a_fault(checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoder._vspipe
    monkeypatch.setattr(encoder, "_vspipe", lambda *arguments: [whole(*arguments)[0], "-e", "3", *whole(*arguments)[1:]])
    checker.prepare(FILMS[0], 0)
    encoder.encode(checker, FILMS[0], 0)
    assert checker.counts["act"] == Counts(times=1, asked=4, wrong=1)
    assert "vspipe ended with 0 after 4 frames" in checker.faults[0]


@pytest.mark.skipif(not encoder.HAS_LIMITS, reason="needs a system with limits for the size of files")
def test_a_disk_that_is_not_full_is_a_fault(checker: Checker) -> None:
    """So that the double of a full disk is one."""
    checker.prepare(FILMS[0], 0)
    encoder.encode_into_a_file(checker, FILMS[0], 0, limit=1 << 40)
    encoder.keep(checker, FILMS[0], limit=1 << 40)
    assert checker.counts["act"] == Counts(times=1, asked=48, wrong=2)


def test_a_stream_is_read_up_to_what_is_no_frame() -> None:
    frame = b"FRAME\n" + bytes(TINY.frame_bytes)

    def count(stream: bytes) -> int:
        return len(list(encoder.y4m_digests(io.BytesIO(stream), TINY)))

    assert count(b"YUV4MPEG2 W32 H24\n" + 2 * frame) == 2
    assert count(b"YUV4MPEG2 W32 H24\n" + frame + frame[:-1]) == 1
    assert count(b"YUV4MPEG2 W32 H24\n" + frame + b"x" + frame) == 1
    assert count(2 * frame) == 0
    assert count(b"") == 0


@pytest.mark.parametrize("arguments", [("--minutes", 0), ("--acts", "sleep"), ("--seed", "x")])
def test_a_mistake_in_the_arguments_is_said_in_one_line(arguments: tuple[object, ...]) -> None:
    done = soak(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"soak.py: argument {arguments[0]}: ")
    assert len(done.stderr.splitlines()) == 1
