"""The published networks: in NumPy what a checkpoint of each variant and version holds and how it folds; in PyTorch as trained.

Importing this package does not import PyTorch. Using ``ParagonSR2`` or ``LegacyParagonSR2`` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .description import VARIANTS, Description, describe
from .variant import SCALES, Variant

if TYPE_CHECKING:
    from .legacy.network import LegacyParagonSR2
    from .paragonsr2 import ParagonSR2

_TORCH = {"ParagonSR2": ".paragonsr2", "LegacyParagonSR2": ".legacy.network"}

__all__ = ["SCALES", "VARIANTS", "Description", "LegacyParagonSR2", "ParagonSR2", "Variant", "describe"]


def __getattr__(name: str) -> object:
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_TORCH[name], __name__), name)
