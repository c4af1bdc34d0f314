"""Text is UTF-8 on every system: what reads or writes it names its encoding. Ruff's PLW1514 sees only calls whose type it knows."""

import ast
import re
from collections.abc import Iterator

import pytest
from bootstrap import ROOT

TEXT_MODE = re.compile(r"[rwax+t]+")

FAULTS = """
path.read_text()
path.write_text("a")
folder.joinpath("a").open()
path.open("a")
subprocess.run(command, text=True)
subprocess.Popen(command, universal_newlines=True)
"""
RIGHT = """
path.read_text(encoding="utf-8")
path.write_text("a", "utf-8")
path.open("rb")
path.open("a", encoding="utf-8")
tarfile.open(path, "w")
Image.open(path)
subprocess.run(command, text=True, encoding="utf-8")
subprocess.run(command)
"""


def without_encoding(program: str) -> Iterator[int]:
    """The lines with calls that leave the encoding of text to the system."""
    for call in ast.walk(ast.parse(program)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        words = {keyword.arg: keyword.value for keyword in call.keywords}
        first = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        is_text = any(isinstance(value := words.get(name), ast.Constant) and value.value for name in ("text", "universal_newlines"))
        match call.func.attr:
            case "read_text":
                is_text = not call.args
            case "write_text":
                is_text = len(call.args) < 2
            case "open":
                is_text = not call.args or (isinstance(first, str) and TEXT_MODE.fullmatch(first) is not None)
        if is_text and "encoding" not in words:
            yield call.lineno


def test_what_leaves_the_encoding_to_the_system_is_seen() -> None:
    assert list(without_encoding(FAULTS)) == [2, 3, 4, 5, 6, 7]
    assert list(without_encoding(RIGHT)) == []


@pytest.mark.parametrize("folder", ["scripts", "tests", "vs_paragonsr2"])
def test_text_has_an_encoding(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert len(paths) > 10
    found = [f"{path.relative_to(ROOT)}:{line}" for path in paths for line in without_encoding(path.read_text(encoding="utf-8"))]
    assert found == []
