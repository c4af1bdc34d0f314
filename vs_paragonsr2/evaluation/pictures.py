"""Test sets of pictures: pairs, or originals that are reduced here."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import ParagonSR2Error
from ..program.tiling import Upsampler
from ..training.data import Pair, read_pairs
from ..training.shards import SUFFIXES, reduce_bicubic
from .figures import Measured, compare_pictures
from .upscalers import upscale_picture


def read_pictures(folder: Path, scale: int) -> Iterator[Pair]:
    """The pairs of a test set, or pictures reduced by antialiased bicubic (a = -0.5) after cropping them to multiples of the scale.

    A folder with a ``NAME_lr.png`` has pairs. Raises ParagonSR2Error where there is no picture, or a pair has another scale.
    """
    yield from read_pairs(folder, scale) if any(folder.glob("*_lr.png")) else _reduced(folder, scale)


def _reduced(folder: Path, scale: int) -> Iterator[Pair]:
    paths = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES)
    if not paths:
        raise ParagonSR2Error(f"{folder}: no picture is there (NAME_lr.png beside NAME_hr.png, or {', '.join(SUFFIXES)})")
    for path in paths:
        with Image.open(path) as picture:
            high = np.asarray(picture.convert("RGB"))
        height, width = (side - side % scale for side in high.shape[:2])
        high = high[:height, :width]
        yield Pair(path.stem, reduce_bicubic(high, scale), high)


def measure_pictures(
    pairs: Iterator[Pair], upscalers: dict[str, Upsampler], scale: int, device: torch.device
) -> Iterator[Measured]:
    """Each picture by each upscaler, ``scale`` pixels left out at each border."""
    for pair in pairs:
        pictures = {name: upscale_picture(upscaler, pair.low, device) for name, upscaler in upscalers.items()}
        figures = {name: compare_pictures(picture, pair.high, scale) for name, picture in pictures.items()}
        yield Measured(pair.name, pictures, pair.high, figures)
