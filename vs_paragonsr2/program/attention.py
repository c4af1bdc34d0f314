"""The operations that Photo and Pro have beside those of the others."""

from dataclasses import dataclass

from .colour import Array
from .operation import Operation


@dataclass(frozen=True, eq=False, kw_only=True)
class RMSNorm(Operation):
    """x * scale / sqrt(mean over the channels of x^2 + 1e-6) + bias, pixel by pixel."""

    scale: Array
    """(channels,)."""
    bias: Array
    """(channels,)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Operation):
    """The softmax over the channels of each pixel."""


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowAttention(Operation):
    """Self-attention with several heads within square windows, shifted by half a window or not.

    The picture is padded with zeros at the bottom and to the right, to whole windows. There is no mask: zeros take part, and
    shifted windows join opposite edges.
    """

    qkv: Array
    """(3 * channels, channels): rows q, k, v, each head by head; the root of 1 / channels of a head is in q."""
    qkv_bias: Array
    """(3 * channels,)."""
    proj: Array
    """(channels, channels)."""
    proj_bias: Array
    """(channels,)."""
    heads: int
    side: int
    """Side of a window in pixels."""
    shift: int
    """Pixels by which windows are moved down and to the right."""

    @property
    def window(self) -> int:
        return self.side

    @property
    def multiply_adds(self) -> int:
        return self.qkv.size + self.proj.size + 2 * self.side**2 * self.channels

    def describe(self) -> str:
        return f"{self.heads} heads, {self.side}x{self.side}" + (", shifted" if self.shift else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class ChannelAttention(Operation):
    """x * (1 + gain * sigmoid(expand @ gelu(reduce @ the mean of x over the whole picture))), channel by channel."""

    reduce: Array
    """(fewer channels, channels)."""
    expand: Array
    """(channels, fewer channels)."""
    gain: Array
    """(channels,)."""
    side: int
    """Side in pixels of the squares that the picture and its halo, which takes part in the mean, have to be made of."""

    @property
    def window(self) -> int:
        return self.side
