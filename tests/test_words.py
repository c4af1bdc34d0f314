"""The command's words: what each imports, and how it ends where something is missing."""

import subprocess
import sys

import pytest

from vs_paragonsr2 import cli

WORDS = sorted(name for name, module in vars(cli).items() if hasattr(module, "add_to"))
HEAVY = ("torch", "vapoursynth", "openvino", "onnxruntime", "PIL", "matplotlib")

HELP = f"""
import sys
from vs_paragonsr2.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code
assert not [name for name in {HEAVY} if sys.modules.get(name)]
"""

WITHOUT = """
import sys
sys.modules[{missing!r}] = None
from vs_paragonsr2.cli import main
main(sys.argv[1:])
"""


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HELP, *words], capture_output=True, text=True, encoding="utf-8", check=False)


def test_help_lists_the_words() -> None:
    said = command("--help")
    assert said.returncode == 0, said.stderr
    assert [word for word in WORDS if f"\n    {word} " in said.stdout] == WORDS
    assert {"cache", "doctor", "evaluate", "explain", "export", "train"} <= set(WORDS)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_s_help_imports_nothing_heavy(word: str) -> None:
    said = command(word, "--help")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"usage: vs-paragonsr2 {word} ")


@pytest.mark.parametrize("word", WORDS)
def test_wrong_arguments_end_with_status_2(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([word, "--no-such-option"])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("vs-paragonsr2")


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["train", "a.yml", "--out", "a"], "yaml", "training"),
        (["evaluate", "--data", "a"], "PIL", "evaluation"),
        (["export", "realtime", "--out", "a"], "onnxscript", "export"),
    ],
)
def test_what_is_missing_is_named_with_the_extra(arguments: list[str], missing: str, extra: str) -> None:
    """In a process of its own, which has imported nothing yet."""
    line = [sys.executable, "-c", WITHOUT.format(missing=missing), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    words = f"vs-paragonsr2: {arguments[0]}: import of {missing} halted; None in sys.modules"
    assert done.stderr.splitlines() == [f"{words}; pip install 'vs_paragonsr2[{extra}]' brings it"]


def test_a_fault_of_the_package_itself_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vs_paragonsr2.backends.pytorch.devices", None)
    with pytest.raises(ImportError, match="vs_paragonsr2.backends.pytorch.devices"):
        cli.main(["evaluate", "--data", "a"])
