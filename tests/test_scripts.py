"""Every script answers ``--help`` and wrong arguments before anything is set up, with a Python that has nothing installed."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.arguments import WORDS
from bootstrap import ROOT

LATE = {"average"}
"""Scripts that import what they need before they look at their arguments, and so need an environment even for ``--help``."""

SCRIPTS = sorted(
    path.stem
    for path in (ROOT / "scripts").glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8") and path.stem not in LATE
)

WRONG = (
    ("demo", ["nowhere.mkv"], "CLIP is nowhere.mkv: there is no such file"),
    ("demo", ["--output", "a"], "unrecognized arguments: --output"),
    ("benchmark", ["--frames", "7"], "argument --frames: is 7: expected a whole number of 8 or more"),
    ("benchmark", ["--precisions", "f64"], "argument --precisions: invalid choice: 'f64'"),
    ("benchmark", ["--models", "nowhere.pth"], "argument --models: is nowhere.pth: there is no such file"),
    ("benchmark", ["--against", "."], "argument --against: is .: expected a checkout, which has vs_paragonsr2/__init__.py"),
    ("benchmark", ["nonsense"], "unrecognized arguments: nonsense"),
    ("benchmark", ["playback", "--size", "large"], "argument --size: is large: expected WIDTHxHEIGHT, as 1920x1080"),
    ("benchmark", ["playback", "--fps", "0"], "argument --fps: is 0: expected a number above 0"),
    ("benchmark", ["stages", "--clip", "nowhere.mkv"], "argument --clip: is nowhere.mkv: there is no such file"),
    ("benchmark", ["tile_loss", __file__, "--data", "."], "argument --data: is .: expected a folder with pictures, NAME.png"),
    ("gpu_check", ["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
    ("prepare_mpv", ["--fast"], "unrecognized arguments: --fast"),
    ("prepare_vsview", ["--fast"], "unrecognized arguments: --fast"),
)


def bare(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The script in the Python that the environment was made of, without any package. It ends where it would set something up."""
    python = Path(sys.base_prefix, "python.exe" if sys.platform == "win32" else "bin/python3")
    program = (
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        "import bootstrap\n"
        "bootstrap.run_inside = lambda *extras: sys.exit('it has begun to work')\n"
        f"sys.argv[0] = {str(ROOT / 'scripts' / f'{script}.py')!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    line = [str(python), "-I", "-S", "-c", program, *arguments]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)


@pytest.mark.parametrize(
    "words", [*((script,) for script in SCRIPTS), *(("benchmark", word) for word in sorted(WORDS))], ids=" ".join
)
def test_help_sets_up_nothing(words: tuple[str, ...], tmp_path: Path) -> None:
    done = bare(*words, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ") and not done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("script", "arguments", "message"), WRONG)
def test_a_mistake_is_one_line_and_status_2(script: str, arguments: list[str], message: str, tmp_path: Path) -> None:
    done = bare(script, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{script}.py") and message in line and line.endswith("; --help says more")
    assert not done.stdout and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["benchmark", "check", "demo", "prepare_mpv", "prepare_vsview"])
def test_right_arguments_set_up(script: str, tmp_path: Path) -> None:
    """So that the tests above would see it."""
    assert script in SCRIPTS
    assert bare(script, cwd=tmp_path).stderr == "it has begun to work\n"
