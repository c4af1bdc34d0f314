"""What :mod:`.fold` is given of a network: everything but how its body was named, trained or stored."""

from collections.abc import Callable
from dataclasses import dataclass

from .colour import Array
from .operations import Operation

type Taps = tuple[Array, Array]
"""The taps of a separable filter, vertical and horizontal: (taps,) each."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A 3x3 convolution."""

    weight: Array
    """(outputs, inputs, 3, 3)."""
    bias: Array
    """(outputs,)."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkParts:
    """A dual-path network: ``base(x) + gain * out(shuffle(up(body(head(x)))))``, in float64."""

    scale: int
    alpha: float
    """Blend of the base path's low-pass."""
    low_pass: Taps
    """The base path's filter at the low resolution."""
    blur: Taps
    """The base path's filter at the high resolution, behind nearest neighbour."""
    head: Layer
    """From R, G and B to features."""
    body: Callable[[Operation], Operation]
    """The operations from the head's features to those that ``up`` is given."""
    up: Layer
    """The last convolution before the last pixel shuffle, (features * factor^2, features, 3, 3)."""
    factor: int
    """The factor of the last pixel shuffle."""
    out: Layer
    """From features at the high resolution to R, G and B."""
    gain: float
    """The gain of the detail that ``out`` gives."""
