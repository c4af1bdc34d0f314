"""Programs as tables: their figures are those of the programs, and the documentation shows what the command prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plain import make_spec, parts_of, random_network

from vs_paragonsr2.program.explain import cost, explain
from vs_paragonsr2.program.fold import fold
from vs_paragonsr2.program.geometry import place

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/programs.md"
COMMAND = re.compile(r"```\n\$ vs-paragonsr2 (explain[^\n]*)\n(.*?)```", re.DOTALL)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "vs_paragonsr2.cli", *arguments]
    return subprocess.run(
        line, env={**os.environ, "COLUMNS": "120"}, capture_output=True, text=True, cwd=ROOT, check=False, encoding="utf-8"
    )


@pytest.mark.parametrize("shown", COMMAND.findall(PAGE.read_text(encoding="utf-8")), ids=lambda shown: shown[0])
def test_the_documentation_shows_what_is_computed(shown: tuple[str, str]) -> None:
    arguments, printed = shown
    said = command(*arguments.split()).stdout
    assert [line.rstrip() for line in said.splitlines()] == printed.splitlines()


def test_five_clips_are_shown() -> None:
    assert len(COMMAND.findall(PAGE.read_text(encoding="utf-8"))) == 5


@pytest.mark.parametrize("name", ["realtime", "stream", "realtime 7", "stream 8"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_last_reach_is_the_halo_where_every_plane_is_luma(name: str, scale: int) -> None:
    program = fold(parts_of(random_network(name, scale)), make_spec(scale, (24, 24), "GRAY", "444"))
    assert explain(program)[-1].reach == max(place(program).halo)


def test_what_sees_the_whole_picture_is_said() -> None:
    rows = explain(fold(parts_of(random_network("photo", 2, blocks=1)), make_spec(2, (16, 16))))
    first = next(row.number for row in rows if row.name == "WindowAttention")
    assert all((row.reach is None) == (first in behind(rows, row.number)) for row in rows)


def behind(rows: list[object], number: int) -> set[int]:
    """The rows that a row is computed from, itself included."""
    found, waiting = set(), [number]
    while waiting:
        found.add(waiting[-1])
        waiting.extend(set(rows[waiting.pop()].sources) - found)  # type: ignore[attr-defined]
    return found


def test_costs_are_those_of_the_layers() -> None:
    """RGB floats, one block, by hand: the head, the block, conv_mid and the tail."""
    program = fold(parts_of(random_network("realtime 10", 2, blocks=1)), make_spec(2, (1, 1), "RGB", bits=32, is_float=True))
    rows = explain(program)
    by_kind = {row.what: row.multiply_adds for row in rows if row.name == "Convolution"}
    assert by_kind == {"3x3": 16 * 16 * 9, "1x1": 32 * 16, "3x3, depthwise": 32 * 9, "5x5": 12 * 16 * 25}
    head = next(row for row in rows if row.name == "Convolution")
    assert head.multiply_adds == 16 * 3 * 9 and head.bytes_moved == 4 * (3 + 16)
    assert cost(program).multiply_adds == sum(row.multiply_adds for row in rows)
    assert cost(program).operations == len(rows) == len(program.operations)


def test_chroma_costs_less_where_there_is_less_of_it() -> None:
    parts = parts_of(random_network("realtime", 2))
    costs = [cost(fold(parts, make_spec(2, (32, 32), subsampling=name))).bytes_moved for name in ("410", "420", "444")]
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "NV12"], "--format is 'NV12': expected VapourSynth's name of a format, as YUV420P8"),
        (["--output-format", "0"], "--output-format is '0': expected VapourSynth's name"),
        (["--size", "1080p"], "--size is '1080p': expected WIDTHxHEIGHT, as 1920x1080"),
        (["--model", "nope"], "model is 'nope': expected a shipped model"),
        (["--output-format", "RGB24"], "target is RGB: expected the source's colour family, YUV"),
        (["--matrix", "3"], "matrix is 3: expected one of"),
        (["--scale", "3"], "scale is 3: the model 'realtime' has 2, 4"),
        (["--model", "tests/golden/realtime_x2.safetensors", "--scale", "4"], "--scale is 4: the checkpoint's own is 2"),
    ],
)
def test_errors_say_what_would_be_right(arguments: list[str], words: str) -> None:
    done = command("explain", *arguments)
    assert done.returncode == 1 and not done.stdout
    assert words in done.stderr and "Traceback" not in done.stderr
