"""The published networks: in NumPy, what the checkpoints of each variant hold and how they are folded; in PyTorch, as trained.

``docs/adding-a-variant.md`` says what belongs to a variant. Importing this package does not import PyTorch; using ``ParagonSR2``
or ``LegacyParagonSR2`` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .description import Description, describe
from .variant import SCALES, Variant
from .variants import VARIANTS

if TYPE_CHECKING:
    from .legacy_network import LegacyParagonSR2
    from .paragonsr2 import ParagonSR2

_TORCH = {"ParagonSR2": ".paragonsr2", "LegacyParagonSR2": ".legacy_network"}

__all__ = ["SCALES", "VARIANTS", "Description", "LegacyParagonSR2", "ParagonSR2", "Variant", "describe"]


def __getattr__(name: str) -> object:
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_TORCH[name], __name__), name)
