"""Figures of upscalers over test sets of pictures."""

from collections.abc import Iterator

import torch

from ..backends.reference.session import Upsampler
from .figures import Measured, compare_pictures
from .pairs import Pair
from .upscalers import upscale_picture


def measure_pictures(
    pairs: Iterator[Pair], upscalers: dict[str, Upsampler], scale: int, device: torch.device
) -> Iterator[Measured]:
    """Each picture by each upscaler, ``scale`` pixels left out at each border."""
    for pair in pairs:
        pictures = {name: upscale_picture(upscaler, pair.low, device) for name, upscaler in upscalers.items()}
        figures = {name: compare_pictures(picture, pair.high, scale) for name, picture in pictures.items()}
        yield Measured(pair.name, pictures, pair.high, figures)
