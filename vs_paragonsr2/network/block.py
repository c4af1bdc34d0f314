"""What every block has in PyTorch beyond its layers."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from .layers import LayerScale


class Nonlinearity(NamedTuple):
    """The layers on both sides of a block's nonlinearity, which the start of a training run and ``span.balance`` rescale."""

    before: nn.Conv2d
    """The convolution whose outputs the nonlinearity is given."""
    after: nn.Conv2d
    """The convolution that is given the nonlinearity's outputs."""
    scale: LayerScale | nn.Identity
    """What stands behind ``after``: a LayerScale, or nothing."""
    std: float | None = None
    """Standard deviation that the start gives each output of ``before``; None takes the configuration's ``pre_activation_std``."""
    is_product: bool = False
    """Whether the nonlinearity multiplies the first half of ``before``'s output channels by the second half."""


class ResidualBlock(nn.Module):
    """Features (N, C, H, W) to features of the same shape."""

    radius: int
    """How far an output sees through the block's convolutions, in pixels; attention is not counted."""


class Block(ResidualBlock, ABC):
    """The block of a variant, with what training asks of it."""

    @property
    @abstractmethod
    def nonlinearity(self) -> Nonlinearity:
        """The layers around the nonlinearity. Where a block has several, it is the one behind the spatial convolutions."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The block's output for the features ``x``."""

    def forward_on_cpu(self, x: Tensor) -> Tensor:
        """The same function of ``x`` and of the parameters as :meth:`forward`, for training on a CPU.

        A block defines it where PyTorch has a faster way to compute it there, gradients included. ``x`` is channels-last.
        """
        return self(x)

    def pre_activations(self, x: Tensor) -> Tensor:
        """What the nonlinearity is given for the features ``x``: the outputs of ``nonlinearity.before``."""
        seen: list[Tensor] = []
        handle = self.nonlinearity.before.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            self(x)
        finally:
            handle.remove()
        return seen[0]
