"""Prepare ``.venv`` at the root of the checkout. Standard library alone: it runs before anything is installed."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
SUFFIX = ".exe" if os.name == "nt" else ""
PYTHON = BIN / f"python{SUFFIX}"
MINIMUM = (3, 12)

GIGABYTES = {"cuda", "test"}
"""The extras that bring PyTorch, of those that anybody asks for here."""


def program(name: str) -> Path:
    """The path of a program that was installed into the environment, such as ``vspipe``."""
    return BIN / f"{name}{SUFFIX}"


def has_nvidia_driver() -> bool:
    """Whether there may be a card for which PyTorch is worth its gigabytes; the package asks the same before it imports PyTorch."""
    try:
        ctypes.CDLL("nvcuda" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def run_inside(*extras: str) -> None:
    """Return at once inside the environment; outside, prepare it with the extras and run the same command again inside.

    Every call with the same package metadata after the first one takes no time.
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
    """Whether the environment is whole and of this Python; an interruption leaves half of one."""
    question = "import pip, sys; print(sys.version)"
    done = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True, check=False) if PYTHON.exists() else None
    return done is not None and done.stdout.strip() == sys.version


def prepare(*extras: str) -> None:
    """Make the environment, install the package in place with the extras, and tell VapourSynth where its Python is.

    What other calls have installed stays.
    """
    described = (ROOT / "setup.cfg").read_bytes() + str(ROOT).encode() + sys.version.encode()
    stamp = VENV / f"prepared-{'-'.join(extras)}"
    current = hashlib.sha256(described).hexdigest()
    if not stamp.exists() or stamp.read_text() != current:
        size = " (PyTorch is some gigabytes, once)" if GIGABYTES.intersection(extras) else ""
        print(f"Setting up {VENV}{size}", file=sys.stderr)
        if not _has_pip():
            venv.create(VENV, with_pip=True, clear=True)
        # Python compiles a module when it is first used; to compile all of them takes longer, and a tenth of the space.
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        # Python 3.12's own pip finds no versions of PyTorch's CUDA packages that agree with Torch-TensorRT's.
        subprocess.run([*map(str, pip), "--upgrade", "pip"], check=True)
        subprocess.run([*map(str, pip), "--editable", f"{ROOT}[{','.join(extras)}]"], check=True)
        stamp.write_text(current)
    # vspipe embeds Python and looks for it in a file of the user's, which has a line for each environment.
    subprocess.run([program("vapoursynth"), "config"], check=True, stdout=subprocess.DEVNULL)
