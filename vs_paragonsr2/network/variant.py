"""What sets one variant apart from the others. NumPy alone."""

from collections.abc import Callable, Set
from dataclasses import dataclass

from ..program.operations import Operation
from .folding import Shapes, Tensors

SCALES = (2, 3, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One of the family, as version 11 has it. ``network/NAME/block.py`` has its block in PyTorch."""

    name: str
    features: int
    groups: int
    blocks: int
    """Of a group."""
    detail_gain: float
    """Value at the start of training."""
    alpha: float
    """Default of the base path's low-pass blend."""
    window: int | None = None
    """Side of the attention windows in pixels."""
    always_sees_whole: bool = False
    """Whether a result depends on the whole picture even where window attention is left out."""
    recognises: Callable[[Set[str]], bool]
    """Whether the names of a block's tensors are this variant's."""
    shapes: Callable[[int, bool, bool], Shapes]
    """Of a block's tensors, from its channels, whether it has attention, and whether it has LayerScale, which versions 9 and 10 of
    Realtime and Stream lack."""
    fold: Callable[[Operation, Tensors, bool], Operation]
    """A block's operations on features, with its tensors, and whether its windows are shifted."""
