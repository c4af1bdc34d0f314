"""The variant in ``docs/adding-a-variant.md``: taken out of the page, put into a copy of the checkout, and tested there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bootstrap import ROOT, program

PAGE = (ROOT / "docs/adding-a-variant.md").read_text(encoding="utf-8")
FILES = ["vs_paragonsr2/network/swift/__init__.py", "vs_paragonsr2/network/swift/block.py", "tests/test_swift.py"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the variant needs of the checkout, with the files of the page, which are named in the text before them."""
    folder = tmp_path_factory.mktemp("checkout")
    skipped = shutil.ignore_patterns("__pycache__", "golden", "clips", "e2e")
    for name in ("vs_paragonsr2", "tests", "scripts", "models"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("setup.cfg", "pyproject.toml", "ruff.toml"):
        shutil.copy(ROOT / name, folder / name)
    blocks = list(re.finditer(r"^```python\n(.*?)^```", PAGE, re.M | re.S))
    begins = [0, *(block.end() for block in blocks)]
    assert len(blocks) == len(FILES)
    for block, begin, file in zip(blocks, begins, FILES, strict=False):
        assert f"`{file}`" in PAGE[begin : block.start()]
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(block[1], encoding="utf-8")
    return folder


def run(checkout: Path, *command: object) -> str:
    """What a program writes in the copy. Raises AssertionError where it fails."""
    done = subprocess.run([*map(str, command)], cwd=checkout, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_recognised_folded_and_trained(checkout: Path) -> None:
    said = run(checkout, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_swift.py")
    assert "3 passed" in said


def test_what_is_asked_of_every_variant_holds_for_it(checkout: Path) -> None:
    """It is recognised by itself alone, and both halves of its folder agree."""
    tests = "tests/test_variants.py", "-k", "swift"
    assert "16 passed" in run(checkout, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)


KNOWN = "import sys; sys.modules['torch'] = None; from vs_paragonsr2.network import VARIANTS; print(*VARIANTS)"
MADE = "from scripts.trainner.paragonsr2_arch import paragonsr2_swift; print(paragonsr2_swift(scale=3).scale)"


def test_it_is_known_without_pytorch_and_to_trainner(checkout: Path) -> None:
    assert run(checkout, sys.executable, "-c", KNOWN).split() == ["swift", "realtime", "stream", "photo", "pro"]
    assert run(checkout, sys.executable, "-c", MADE).split() == ["3"]


def test_its_files_keep_the_rules_of_the_project(checkout: Path) -> None:
    """Those of style, and those of who imports what."""
    run(checkout, program("ruff"), "check", *FILES)
    run(checkout, program("ruff"), "format", "--check", *FILES)
    run(checkout, program("lint-imports"), "--no-cache")
