"""vs-mlrt's OpenVINO plugin, the peer that upscale() is compared with, in an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

import filelock
from bootstrap import BIN, ROOT, SUFFIX

from .processes import Program

PEER = ROOT / ".venv-peer"
PACKAGES = ("vapoursynth", "vapoursynth-bestsource", "vapoursynth-mlrt-ov")

GRAPHS = {"plain": "vs-mlrt", "folded": "vs-mlrt, folded"}
"""Names of programs by the graph that they run, as ``vs-paragonsr2 export`` calls it."""

SCRIPT = """
rgb = clip.resize.Bicubic(format=vs.RGBS)
config = lambda: dict(INFERENCE_PRECISION_HINT={precision!r})
rgb = vs.core.ov.Model([rgb], {onnx!r}, device="CPU", num_streams={streams}, config=config)
rgb.resize.Bicubic(format=clip.format.id, matrix=clip.get_frame(0).props["_Matrix"]).set_output()
"""


def set_up() -> str | None:
    """Make the peer's environment where it is missing, one process at a time. Returns what went wrong, or None."""
    try:
        with filelock.FileLock(f"{PEER}.lock"):
            return _set_up()
    except OSError as error:
        return str(error)


def _set_up() -> str | None:
    python, vapoursynth = (PEER / BIN.name / f"{name}{SUFFIX}" for name in ("python", "vapoursynth"))
    commands = [[python, "-m", "pip", "install", "--quiet", *PACKAGES], [vapoursynth, "config"]]
    if not python.exists():
        commands.insert(0, [Path(sys.executable), "-m", "venv", PEER])
    for command in commands:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode:
            return done.stdout + done.stderr
    return None


def export(model: str, graph: str, folder: Path) -> Path:
    """Write a model's graph for RGB of any size as ONNX. It ends the process with a message where that fails."""
    onnx = folder / f"{Path(model).stem}_{graph}.onnx"
    # In a process of its own: a child's peak memory is never less than what its parent had when it was started.
    command = [sys.executable, "-m", "vs_paragonsr2.cli", "export", model, "--graph", graph, "--out", str(onnx)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        sys.exit(f"benchmark: {model}: its {graph} ONNX cannot be made:\n{done.stderr}")
    return onnx


def programs(source: str, graph: str, onnx: Path, precision: str) -> list[Program]:
    """The peer with several numbers of streams, of which users would take the best one.

    Args:
        source: the beginning of the script, which makes ``clip``.
        graph: which of :data:`GRAPHS` the file has.
        onnx: the file.
        precision: ``"f32"`` or ``"bf16"``.
    """
    numbers = sorted({1, 2, os.cpu_count() or 1})
    scripts = {streams: source + SCRIPT.format(onnx=str(onnx), precision=precision, streams=streams) for streams in numbers}
    return [Program(GRAPHS[graph], PEER / BIN.name, script, streams) for streams, script in scripts.items()]
