"""The published networks: in NumPy what a checkpoint of each variant and version holds and how it folds; in PyTorch as trained.

To import this package imports no PyTorch. To use ``ParagonSR2``, ``LegacyParagonSR2``, ``Network`` or ``load_network`` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .description import VARIANTS, Description, describe
from .variant import SCALES, Variant

if TYPE_CHECKING:
    from .legacy.network import LegacyParagonSR2
    from .loading import Network, load_network
    from .paragonsr2 import ParagonSR2

_TORCH = {
    "ParagonSR2": ".paragonsr2",
    "LegacyParagonSR2": ".legacy.network",
    "Network": ".loading",
    "load_network": ".loading",
}

__all__ = [
    "SCALES",
    "VARIANTS",
    "Description",
    "LegacyParagonSR2",
    "Network",
    "ParagonSR2",
    "Variant",
    "describe",
    "load_network",
]


def __getattr__(name: str) -> object:
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_TORCH[name], __name__), name)
