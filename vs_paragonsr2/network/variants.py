"""The list of all variants: each folder beside this file is one, and defines ``VARIANT``. NumPy alone."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from .variant import Variant


def _find_variants() -> dict[str, Variant]:
    folders = [module.name for module in iter_modules([str(Path(__file__).parent)]) if module.ispkg]
    found: list[Variant] = [import_module(f".{folder}", __package__).VARIANT for folder in folders]
    return {variant.name: variant for variant in sorted(found, key=lambda v: (v.features, v.groups * v.blocks, v.name))}


VARIANTS = _find_variants()
"""The variants by name, the smallest network first."""
