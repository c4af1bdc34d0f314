"""What sets one variant apart from the others. NumPy alone; PyTorch is imported when a block of a network is made."""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..program.operations import Operation
from .folding import Shapes, Tensors

if TYPE_CHECKING:
    from .block import Block, ResidualBlock

SCALES = (2, 3, 4, 8)
"""The upscaling factors for which there are networks."""

AttentionMode = Literal["sdpa", "flex"]
"""How PyTorch computes window attention: by ``scaled_dot_product_attention`` or ``flex_attention``, which give the same numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOptions:
    """In what the blocks of one variant can differ from each other. A variant ignores what does not concern it."""

    channels: int
    """Number of feature channels."""
    version: int = 11
    """11, or 10 for the blocks of versions 9 and 10."""
    attention: AttentionMode | None = None
    """How window attention is computed; None leaves it out, together with its tensors."""
    shifted: bool = False
    """Whether the attention windows are shifted by half their side, as they are in every second block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyBlock:
    """A variant's block in checkpoint versions 7 and 8. Each function takes the version as its last argument."""

    alpha: float
    """Blend of the base path's low-pass where a checkpoint does not say it."""
    shapes: Callable[[int, int], Shapes]
    """Gives the shapes of the block's tensors from the number of channels."""
    fold: Callable[[Operation, Tensors, int], Operation]
    """Gives the block's operations from its features and tensors."""
    block: "Callable[[int, int], ResidualBlock]"
    """Makes the block in PyTorch, which is not imported before, from the number of channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One member of the family. Its folder ``network/NAME`` defines it as ``VARIANT``."""

    name: str
    """The folder's name, under which checkpoints and configurations know the variant."""
    features: int
    """Number of feature channels, C below."""
    groups: int
    """Number of groups of blocks."""
    blocks: int
    """Number of blocks in each group."""
    detail_gain: float
    """Value of the network's ``detail_gain`` when it is made."""
    alpha: float
    """Blend of the base path's low-pass where a checkpoint does not say it."""
    window: int | None = None
    """Side in pixels of the windows that the picture is divided into, for attention; None for a variant without any."""
    always_sees_whole: bool = False
    """Whether an output depends on the whole picture even where window attention is left out. If so, there must be a ``window``."""
    recognises: Callable[[Set[str]], bool]
    """Says whether a block whose tensors have these names is of this variant. It must say no to the blocks of all others."""
    shapes: Callable[[BlockOptions], Shapes]
    """Gives the names and shapes of a block's tensors, as PyTorch's ``state_dict`` has them."""
    fold: Callable[[Operation, Tensors, bool], Operation]
    """Gives a block's operations from its features (C channels), its tensors, and whether its windows are shifted."""
    block: "Callable[[BlockOptions], Block]"
    """Makes a block in PyTorch, which is not imported before."""
    legacy: LegacyBlock | None = None
    """The block of versions 7 and 8, if their checkpoints can be used."""
    legacy_fault: str | None = None
    """Why checkpoints of versions 7 and 8 cannot be used, if there are any."""
