"""What a machine can do in real time: measured by ``vs-paragonsr2 doctor``, kept on disk, and read for ``model="auto"``.

To measure takes too long for a script that a player runs again at each seek; a script only reads.
"""

import json
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from ..backends import Options, candidates, load_backend
from ..checkpoints.models import Model, find_model, shipped_models
from ..support.cache import entry_path, keep, load_kept
from ..support.errors import ParagonSR2Error
from ..support.processors import processors

AUTO = ("stream", "realtime")
"""The models among which ``"auto"`` chooses, the better picture first."""

HEADROOM = 0.8
"""Of the measured speed is what can be counted on: a player decodes and shows frames meanwhile."""

ASSUMED_FPS = 24.0
"""Of a clip that does not say."""

RUNTIMES = ("openvino", "torch", "torch-tensorrt", "torch-tensorrt-rtx")
"""Packages whose version decides how fast a session is."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast frames come, one after the other without a pause; the time that a frame takes grows as its pixels do."""

    pixels: float
    """Of the source, a second."""

    def fps(self, width: int, height: int) -> float:
        """Frames of this size a second."""
        return self.pixels / (width * height)

    def busy(self, width: int, height: int, fps: float) -> float:
        """The part of the time that frames of this size take at a rate; more than 1 cannot be played."""
        return fps / self.fps(width, height)


def verdict(busy: float, fps: float) -> str:
    """In plain words, as ``"yes, 61% busy"``."""
    if busy > 1:
        return f"no, {fps / busy:.3g} fps"
    return f"{'yes' if busy <= HEADROOM else 'barely'}, {busy:.0%} busy"


def choose_model(width: int, height: int, fps: float, scale: int | None, options: Options) -> tuple[str, int, str]:
    """The best of AUTO that this machine can play.

    Args:
        width, height: of the source.
        fps: at which it is played.
        scale: None takes the smallest that any of AUTO ships at.
        options: as asked for, the backend possibly ``""``.

    Returns:
        Name and scale of the model, and why it is this one.

    Raises:
        ParagonSR2Error: none of AUTO ships at the scale.
    """
    shipped = shipped_models()
    scales = sorted({scale for name, scale in shipped if name in AUTO})
    if scale is None and scales:
        scale = scales[0]
    names = [name for name in AUTO if (name, scale) in shipped]
    if scale is None or not names:
        there = ", ".join(map(str, scales)) or "none here"
        raise ParagonSR2Error(f"scale is {scale}: the model 'auto' has {there}; other scales need a file")
    *better, least = names
    why = f"no other ships at {scale}x"
    for name in better:
        speed = known_speed(find_model(name, scale), options)
        if speed is None:
            why = "how fast others are here is not known; vs-paragonsr2 doctor measures it, once"
            continue
        busy = speed.busy(width, height, fps)
        why = f"{name!r} would be {busy:.0%} busy with {width}x{height} at {fps:.4g} fps"
        if busy <= HEADROOM:
            return name, scale, why
    return least, scale, why


def known_speed(model: Model, options: Options) -> Speed | None:
    """What was measured for a model with these options on this machine; None where nothing was, or something has changed since."""
    return load_kept(_path(model, options), _parse)


def keep_speed(model: Model, options: Options, speed: Speed) -> None:
    """Keep what was measured, in place of what was there."""
    keep(_path(model, options), json.dumps({"pixels_per_second": speed.pixels}).encode())


def _parse(data: bytes) -> Speed:
    pixels = json.loads(data)["pixels_per_second"]
    if not (isinstance(pixels, int | float) and 0 < pixels < math.inf):
        raise ValueError("it is no speed")
    return Speed(float(pixels))


def _path(model: Model, options: Options) -> Path:
    # What does not change the speed of a session that is ready does not count, nor what ``doctor`` cannot be asked for.
    asked = replace(options, alpha=None, wait=False, memory_limit=None, tile_size=(0, 0))
    return entry_path("speed", model.sha256, asked, _device_name(asked), _versions(), len(processors()))


@lru_cache(maxsize=16)
def _device_name(options: Options) -> str:
    """Of the first backend that can be asked. No other is imported, so that OpenVINO without PyTorch stays that."""
    for name in [options.backend] if options.backend else candidates(options.device or None)[0]:
        try:
            backend = load_backend(name)
            return f"{name}: {backend.device_name(replace(options, device=options.device or backend.default_device()))}"
        except ParagonSR2Error:  # it will be said when a session is opened
            continue
    return ""


@lru_cache(maxsize=1)
def _versions() -> tuple[str | None, ...]:
    return tuple(map(version_of, RUNTIMES))


def version_of(package: str) -> str | None:
    """Of an installed package; None for one that is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
