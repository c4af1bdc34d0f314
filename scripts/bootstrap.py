"""Prepare ``.venv`` at the root of the checkout.

It uses the standard library alone, since it runs before anything is installed.
"""

import argparse
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
SUFFIX = ".exe" if os.name == "nt" else ""
PYTHON = BIN / f"python{SUFFIX}"
MINIMUM = (3, 12)

GIGABYTES = {"cuda", "evaluation", "export", "reference", "test"}
"""Those of the extras asked for here that bring PyTorch."""


class Arguments(argparse.ArgumentParser):
    """A script's arguments. What is wrong with them is said in one line, with status 2; the description keeps its line breaks.

    A script parses them before it calls :func:`run_inside`, so that neither ``--help`` nor a mistake sets anything up.
    """

    def __init__(self, description: "str | None", prog: "str | None" = None) -> None:
        super().__init__(prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; --help says more\n")


def program(name: str) -> Path:
    """The path of a program in the environment, such as ``vspipe``."""
    return BIN / f"{name}{SUFFIX}"


def has_nvidia_driver() -> bool:
    """Whether there may be a card that is worth PyTorch's gigabytes. The package asks the same before it imports PyTorch."""
    try:
        ctypes.CDLL("nvcuda" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def run_inside(*extras: str) -> None:
    """Return at once inside the environment; outside, prepare it with the extras and run the same command again inside.

    As long as the package's metadata stays the same, only the first call takes time.
    """
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    if sys.version_info < MINIMUM:
        found = next(filter(None, (shutil.which(f"python3.{minor}") for minor in range(19, MINIMUM[1] - 1, -1))), None)
        if found is None:
            sys.exit(f"Python {sys.version.split()[0]} is too old: Python {MINIMUM[0]}.{MINIMUM[1]} or newer is needed")
        sys.exit(subprocess.run([found, *sys.argv], check=False).returncode)
    prepare(*extras)
    sys.exit(subprocess.run([PYTHON, *sys.argv], check=False).returncode)


def _has_pip() -> bool:
    """Whether the environment is whole and belongs to this Python; an interruption leaves half of one."""
    question = "import pip, sys; print(sys.version)"
    if not PYTHON.exists():
        return False
    done = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True, encoding="utf-8", check=False)
    return done.stdout.strip() == sys.version


def prepare(*extras: str) -> None:
    """Make the environment, install the package in place with the extras, and tell VapourSynth where its Python is.

    What other calls have installed stays.
    """
    described = (ROOT / "setup.cfg").read_bytes() + str(ROOT).encode() + sys.version.encode()
    stamp = VENV / f"prepared-{'-'.join(extras)}"
    current = hashlib.sha256(described).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="ascii") != current:
        size = " (PyTorch is some gigabytes, once)" if GIGABYTES.intersection(extras) else ""
        print(f"Setting up {VENV}{size}", file=sys.stderr)
        if not _has_pip():
            venv.create(VENV, with_pip=True, clear=True)
        # Python compiles a module when it is first used. To compile all of them takes longer, and a tenth more disk.
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        # Python 3.12's own pip finds no versions of PyTorch's CUDA packages that agree with Torch-TensorRT's.
        subprocess.run([*map(str, pip), "--upgrade", "pip"], check=True)
        subprocess.run([*map(str, pip), "--editable", f"{ROOT}[{','.join(extras)}]"], check=True)
        stamp.write_text(current, encoding="ascii")
    # vspipe embeds Python, and looks for it in a file of the user's that has a line for each environment.
    subprocess.run([program("vapoursynth"), "config"], check=True, stdout=subprocess.DEVNULL)
