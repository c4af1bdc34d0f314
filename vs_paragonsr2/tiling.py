"""How much of a picture's surroundings an output needs."""

from .colour import ClipSpec
from .network import Network


def border(network: Network, spec: ClipSpec) -> int:
    """Luma samples to replicate on each side of a frame before it is run, and to crop afterwards (times the scale).

    It covers the receptive field of the network and the filter that reduces chroma behind it, and is a multiple of the source's
    and target's chroma ratios. Networks with attention windows see the whole picture: theirs is a multiple of the window that
    covers the receptive field of the convolutions.
    """
    source, target = spec.source, spec.target
    reach = network.radius
    if target.family == "YUV":
        reach += -(-2 * max(target.ratios) // network.scale)
    unit = max(network.window or 1, *source.ratios, *target.ratios)
    return -(-reach // unit) * unit
