"""ParagonSR2 for VapourSynth: planes in, larger planes out.

    from vs_paragonsr2 import upscale
    upscale(clip, model="realtime", scale=2).set_output()

Names are imported when they are used: the package itself imports no VapourSynth, no PyTorch and no backend. Of the names,
``load_network`` alone needs PyTorch, so that ``import *`` leaves it out.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checkpoints.models import shipped_models
    from .checkpoints.network import load_network as load_network
    from .clip.upscale import upscale
    from .support.errors import ParagonSR2Error

_HOMES = {
    "upscale": "clip.upscale",
    "load_network": "checkpoints.network",
    "shipped_models": "checkpoints.models",
    "ParagonSR2Error": "support.errors",
}

try:
    __version__ = version("vs_paragonsr2")
except PackageNotFoundError:  # a bare checkout
    __version__ = "0+checkout"

__all__ = ["ParagonSR2Error", "__version__", "shipped_models", "upscale"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    except ImportError as error:
        if error.name != "torch":
            raise
        words = f"{name} needs PyTorch ({error}); pip install 'vs_paragonsr2[reference]' brings it"
        raise ImportError(words, name=error.name) from error


def __dir__() -> list[str]:
    return __all__
