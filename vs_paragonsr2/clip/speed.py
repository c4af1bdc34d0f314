"""What a machine can do in real time: measured by ``vs-paragonsr2 doctor``, kept on disk, and read for ``model="auto"``.

To measure takes too long for a script that a player runs again at each seek; a script only reads.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from ..backends import backends, candidates, load_backend
from ..checkpoints.models import Model, find_model, shipped_models
from ..support.cache import entry_path, keep, load_kept
from ..support.errors import ParagonSR2Error
from ..support.processors import processors

AUTO = ("stream", "realtime")
"""The models among which ``"auto"`` chooses, the better picture first."""

HEADROOM = 0.8
"""The share of the measured speed that can be counted on: a player decodes and shows frames at the same time."""

ASSUMED_FPS = 24.0
"""The frame rate of a clip that does not say."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast frames are computed, one after the other without a pause. The time of a frame is proportional to its pixels."""

    pixels: float
    """Pixels of the source that are upscaled in a second."""

    def fps(self, width: int, height: int) -> float:
        """How many frames of this size are computed in a second."""
        return self.pixels / (width * height)

    def busy(self, width: int, height: int, fps: float) -> float:
        """The share of the time that frames of this size take at a rate; more than 1 cannot be played."""
        return fps / self.fps(width, height)


def verdict(busy: float, fps: float) -> str:
    """Whether frames can be played at a rate, in plain words such as ``"yes, 61% busy"``."""
    if busy > 1:
        return f"no, {fps / busy:.3g} fps"
    return f"{'yes' if busy <= HEADROOM else 'barely'}, {busy:.0%} busy"


def choose_model(
    width: int, height: int, fps: float, scale: int | None, backend: str | None, given: Mapping[str, object]
) -> tuple[str, int, str]:
    """The best of AUTO that this machine can play.

    Args:
        width, height: of the source.
        fps: at which it is played.
        scale: None takes the smallest that any of AUTO ships at.
        backend, given: backend and options as users give them; None and nothing where they leave the choice.

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
        speed = known_speed(find_model(name, scale), backend, given)
        if speed is None:
            why = "how fast others are here is not known; vs-paragonsr2 doctor measures it, once"
            continue
        busy = speed.busy(width, height, fps)
        why = f"{name!r} would be {busy:.0%} busy with {width}x{height} at {fps:.4g} fps"
        if busy <= HEADROOM:
            return name, scale, why
    return least, scale, why


def known_speed(model: Model, backend: str | None, given: Mapping[str, object]) -> Speed | None:
    """What was measured for a model with these options on this machine; None where nothing was, or something has changed since."""
    return load_kept(_path(model, backend, given), _parse)


def keep_speed(model: Model, backend: str | None, given: Mapping[str, object], speed: Speed) -> None:
    """Keep what was measured, in place of what was there."""
    keep(_path(model, backend, given), json.dumps({"pixels_per_second": speed.pixels}).encode())


def _parse(data: bytes) -> Speed:
    pixels = json.loads(data)["pixels_per_second"]
    if not (isinstance(pixels, int | float) and 0 < pixels < math.inf):
        raise ValueError("it is no speed")
    return Speed(float(pixels))


MEASURED = ("device", "num_streams", "precision")
"""The options that ``vs-paragonsr2 doctor`` can be asked for. What a session does with the others decides no speed here."""


def _path(model: Model, backend: str | None, given: Mapping[str, object]) -> Path:
    asked = {name: given[name] for name in MEASURED if name in given}
    device = _device_name(backend, tuple(asked.items()))
    code = tuple(f"vs_paragonsr2.{part}" for part in ("clip", "backends", "network", "program", "checkpoints", "support"))
    return entry_path("speed", model.sha256, backend, asked, device, _versions(), len(processors()), code=code)


@lru_cache(maxsize=16)
def _device_name(backend: str | None, given: tuple[tuple[str, object], ...]) -> str:
    """The device of the first backend that can be asked. No other is imported, so that OpenVINO without PyTorch stays that."""
    device = dict(given).get("device")
    for name in [backend] if backend is not None else candidates(device if isinstance(device, str) else None)[0]:
        try:
            runtime = load_backend(name)
            return f"{name}: {runtime.device_name(runtime.settle(dict(given), 1))}"
        except ParagonSR2Error:  # it will be said when a session is opened
            continue
    return ""


@lru_cache(maxsize=1)
def _versions() -> tuple[str | None, ...]:
    return tuple(map(version_of, runtime_packages()))


def runtime_packages() -> list[str]:
    """The packages whose versions decide how fast sessions are, each once."""
    return list(dict.fromkeys(package for backend in backends().values() for package in backend.packages))


def version_of(package: str) -> str | None:
    """The version of an installed package; None for one that is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
