"""The import rules of pyproject.toml: the package keeps them, each of them bites, and docs/architecture.md tells the same."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest
from bootstrap import ROOT, program

DOCUMENT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
RULES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
NAMES = [rule["name"] for rule in RULES]
LAYERS, CIRCLE, BACKENDS, VAPOURSYNTH, OPENVINO, TENSORRT, PYTORCH, RUNTIMES = NAMES

ARROWS = [
    (LAYERS, "program/__init__.py", "from ..clip import upscale", "vs_paragonsr2.program -> vs_paragonsr2.clip.upscale"),
    (LAYERS, "evaluation/__init__.py", "from .. import training", "vs_paragonsr2.evaluation -> vs_paragonsr2.training"),
    (LAYERS, "elsewhere/__init__.py", "", "vs_paragonsr2.elsewhere"),
    (CIRCLE, "program/operation.py", "from . import fold", ".operation -> .fold"),
    (BACKENDS, "backends/base.py", "from . import reference", "vs_paragonsr2.backends.base -> vs_paragonsr2.backends.reference"),
    (
        BACKENDS,
        "backends/tensorrt/__init__.py",
        "from .. import openvino",
        "vs_paragonsr2.backends.tensorrt -> vs_paragonsr2.backends.openvino",
    ),
    (
        BACKENDS,
        "backends/another/__init__.py",
        "from ..pytorch import session",
        "vs_paragonsr2.backends.another -> vs_paragonsr2.backends.pytorch.session",
    ),
    (BACKENDS, "clip/__init__.py", "from ..backends import openvino", "vs_paragonsr2.clip -> vs_paragonsr2.backends.openvino"),
    (VAPOURSYNTH, "backends/tiles.py", "import vapoursynth", "vs_paragonsr2.backends.tiles -> vapoursynth"),
    (OPENVINO, "cli/doctor.py", "import openvino", "vs_paragonsr2.cli.doctor -> openvino"),
    (TENSORRT, "backends/pytorch/__init__.py", "import torch_tensorrt", "vs_paragonsr2.backends.pytorch -> torch_tensorrt"),
    (PYTORCH, "checkpoints/load.py", "def later():\n    from torch import load", "vs_paragonsr2.checkpoints.load -> torch"),
    (RUNTIMES, "support/__init__.py", "import torch", "vs_paragonsr2.support -> torch"),
    (RUNTIMES, "program/__init__.py", "import openvino", "vs_paragonsr2.program -> openvino"),
]
"""A rule, a file of the package, what is written at its end and breaks the rule, and how the report names that."""

WITHOUT_PYTORCH = """
import sys, traceback
from importlib import import_module
sys.modules["torch"] = None
for name in sys.argv[1:]:
    try:
        import_module(name)
    except ImportError as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "vs_paragonsr2" in frame.filename]
        print(f"{name}: {' -> '.join(f'{frame.filename}:{frame.lineno}' for frame in frames)}: {error}")
"""
"""Says which of the modules that it is given cannot be imported, and which lines lead to what is missing."""


def checked(folder: Path) -> tuple[bool, str]:
    """Whether the package in a folder keeps the rules of the same folder, and the report."""
    command = [program("lint-imports"), "--no-cache", "--no-logo"]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONUTF8": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """All modules of the package and what they import."""
    return grimp.build_graph("vs_paragonsr2", include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """On a copy of the package with all ``ARROWS`` in it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(ROOT / "vs_paragonsr2", folder / "vs_paragonsr2", ignore=shutil.ignore_patterns("__pycache__"))
    for _, file, lines, _ in ARROWS:
        path = folder / "vs_paragonsr2" / file
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as written:
            written.write(f"\n{lines}\n")
    kept, report = checked(folder)
    assert not kept
    return report


def test_the_package_keeps_the_rules() -> None:
    kept, report = checked(ROOT)
    assert kept, report


@pytest.mark.parametrize(("rule", "named"), [(rule, named) for rule, _, _, named in ARROWS])
def test_an_import_that_breaks_a_rule_is_named_under_it(rule: str, named: str, report: str) -> None:
    begin = report.index(f"\n{rule}\n{'-' * len(rule)}\n")
    later = [place for name in NAMES if (place := report.find(f"\n{name}\n{'-' * len(name)}\n")) > begin]
    assert re.search(rf"{re.escape(named)}(?![.\w])", report[begin : min(later, default=len(report))]), report


def test_every_rule_is_broken_by_an_import() -> None:
    assert {rule for rule, *_ in ARROWS} == set(NAMES)


def test_what_may_not_import_pytorch_can_be_imported_without_it(graph: grimp.ImportGraph) -> None:
    """Whatever it imports in its turn can so too; what a function imports is not asked for."""
    allowed = [name.replace(".", r"\.").replace("*", r"\w+") for name in RULES[NAMES.index(PYTORCH)]["allowed_importers"]]
    needs_it = re.compile(rf"({'|'.join(allowed)})(\.|$)")
    without = sorted(name for name in graph.modules if name.startswith("vs_paragonsr2") and not needs_it.match(name))
    assert "vs_paragonsr2.checkpoints.load" in without
    assert "vs_paragonsr2.checkpoints.network" not in without
    command = [sys.executable, "-c", WITHOUT_PYTORCH, *without, "vs_paragonsr2.checkpoints.network"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    assert [line.partition(":")[0] for line in said.splitlines()] == ["vs_paragonsr2.checkpoints.network"], said


def test_the_architecture_tells_the_rules() -> None:
    told = re.findall(r"\*\*([^*]+?)\.?\*\*", DOCUMENT[DOCUMENT.index("\n## Packages") : DOCUMENT.index("\n## Vocabulary")])
    assert told == NAMES


def test_the_architecture_tells_who_imports_what(graph: grimp.ImportGraph) -> None:
    packages = RULES[NAMES.index(LAYERS)]["layers"]
    found: dict[str, set[str]] = {name: set() for name in packages}
    for module in graph.modules:
        _, package, *_ = [*module.split("."), ""]
        if package in found:
            imported = graph.find_modules_directly_imported_by(module)
            found[package] |= {name for name in imported if "." not in name} - sys.stdlib_module_names - {"vs_paragonsr2"}
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([\w, ]+) \|$", DOCUMENT, re.MULTILINE)
    assert [package for package, _ in rows] == packages
    assert {package: set(outside.split(", ")) for package, outside in rows} == found
