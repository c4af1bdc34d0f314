"""The published networks, as trained. Plain PyTorch: nothing here knows of VapourSynth or of any other room."""

from .legacy import LegacyParagonSR2
from .paragonsr2 import SCALES, VARIANTS, ParagonSR2, Variant, VariantSpec

Network = ParagonSR2 | LegacyParagonSR2

__all__ = ["SCALES", "VARIANTS", "LegacyParagonSR2", "Network", "ParagonSR2", "Variant", "VariantSpec"]
