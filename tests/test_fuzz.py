"""A thousand broken checkpoints."""

import re
import subprocess
import sys
from pathlib import Path

from fuzz.corpus import MAKERS, corpus

ROOT = Path(__file__).parents[1]


def test_a_seed_makes_the_same_files() -> None:
    count = 2 * len(MAKERS)
    assert list(corpus(1, count)) == list(corpus(1, count))
    assert list(corpus(1, count)) != list(corpus(2, count))


def test_a_thousand_broken_files_load_as_they_are_or_are_refused() -> None:
    """In a process of its own, whose memory is that of the files."""
    command = [sys.executable, "-m", "tests.fuzz", "--seed", "1", "--count", "1000"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    said = re.match(r"1000 files, (\d+) of them loaded", run.stdout)
    assert said
    assert 200 < int(said[1]) < 800
