"""Test sets of pictures: pairs, or originals that are reduced here."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..support.errors import ParagonSR2Error
from .metrics import Picture

SUFFIXES = (".webp", ".png")


class Pair(NamedTuple):
    """One picture of a test set."""

    name: str
    low: Picture
    high: Picture


def read_pairs(folder: Path, scale: int) -> list[Pair]:
    """``NAME_lr.png`` and ``NAME_hr.png`` of a test set, grey pictures as RGB.

    Raises:
        ParagonSR2Error: the folder has no pair, or a pair lacks a picture or has another scale.
    """
    pairs = []
    for low in sorted(folder.glob("*_lr.png")):
        name = low.name.removesuffix("_lr.png")
        high = low.with_name(f"{name}_hr.png")
        try:
            with Image.open(low) as a, Image.open(high) as b:
                pair = Pair(name, np.asarray(a.convert("RGB")), np.asarray(b.convert("RGB")))
        except OSError as error:
            raise ParagonSR2Error(f"{low}, {high.name}: no two pictures that can be read ({error})") from error
        height, width = pair.low.shape[:2]
        if pair.high.shape[:2] != (height * scale, width * scale):
            sizes = f"{width}x{height} and {pair.high.shape[1]}x{pair.high.shape[0]}"
            raise ParagonSR2Error(f"scale is {scale}: the pictures of {folder / name} have {sizes}")
        pairs.append(pair)
    if not pairs:
        raise ParagonSR2Error(f"{folder}: no NAME_lr.png beside a NAME_hr.png is there")
    return pairs


def read_pictures(folder: Path, scale: int) -> Iterator[Pair]:
    """The pairs of a test set, or pictures reduced by antialiased bicubic (a = -0.5) after cropping them to multiples of the scale.

    A folder with a ``NAME_lr.png`` has pairs.

    Raises:
        ParagonSR2Error: there is no picture, or a pair lacks a picture or has another scale.
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


def reduce_bicubic(picture: Picture, scale: int) -> Picture:
    """Reduce (H, W, 3) with the antialiased bicubic (a = -0.5) that MATLAB's imresize has; H and W divisible by scale."""
    height, width = picture.shape[:2]
    return np.asarray(Image.fromarray(picture).resize((width // scale, height // scale), Image.Resampling.BICUBIC))
