"""Drawn pictures for the training data: stripes, shapes and letters of full contrast, and patterns of single pixels.

Photographs hardly have the former, and no reduced picture has the latter. A network that has only seen photographs fails on them:
products of features that are nowhere else large together leave the range that the layers behind them were trained for. Whole
regions of zebras or captions go wrong, and nothing is left of a chequered or dithered region.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..evaluation.metrics import Picture
from .shards import Tile

FINER = 2
"""How many times larger most drawings are made before they are reduced, which makes their edges smooth."""

JAGGED_SHARE = 0.25
"""Share of drawings that are not reduced, so that their edges stay jagged."""

LETTERS = [chr(code) for code in range(33, 127)]
"""The printable characters of ASCII."""

LEAST_CONTRAST = 96
"""Least difference between the two colours of a pattern, in 8-bit codes. Photographs have patterns with less."""

type Mask = NDArray[np.bool_]
type Colour = tuple[int, int, int]
type Draw = Callable[[ImageDraw.ImageDraw, int, np.random.Generator], None]


def drawing(side: int, rng: np.random.Generator) -> Picture:
    """A random drawing (side, side, 3), uint8, for any side. All random numbers come from ``rng``."""
    finer = 1 if rng.random() < JAGGED_SHARE else FINER
    large = side * finer
    picture = Image.new("RGB", (large, large), _colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(2, 9))):
        SHAPES[int(rng.integers(len(SHAPES)))](draw, large, rng)
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX))


def _colour(rng: np.random.Generator) -> Colour:
    """Black, white, a grey or any colour."""
    kind = rng.random()
    if kind < 0.5:
        return (255, 255, 255) if kind < 0.25 else (0, 0, 0)
    red, green, blue = rng.integers(256, size=3).tolist()
    return (red, red, red) if kind < 0.7 else (red, green, blue)


def _stripes(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """Draw parallel stripes across the whole picture, straight or bent, from very fine ones to a few wide ones."""
    period = float(np.exp(rng.uniform(np.log(3), np.log(max(4, side / 3)))))
    width, colour = max(1, round(period * rng.uniform(0.3, 0.7))), _colour(rng)
    along, bend = np.linspace(-side, 2 * side, 24), rng.uniform(0, 0.15) * side
    sway = bend * np.sin(along / side * rng.uniform(1, 12) + rng.uniform(0, 6))
    sine, cosine = np.sin(angle := rng.uniform(0, np.pi)), np.cos(angle)
    for offset in np.arange(-side, 2 * side, period):
        across = offset + sway
        points = np.stack([along * cosine - across * sine, along * sine + across * cosine], 1)
        draw.line(points.ravel().tolist(), fill=colour, width=width)


def _polygon(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    draw.polygon(rng.uniform(-0.2 * side, 1.2 * side, 2 * int(rng.integers(3, 7))).tolist(), fill=_colour(rng))


def _ellipse(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    x, y = rng.uniform(0, side, 2)
    a, b = rng.uniform(1, side / 2, 2)
    draw.ellipse([x - a, y - b, x + a, y + b], fill=_colour(rng), outline=_colour(rng), width=int(rng.integers(1, 6)))


def _lines(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 8))):
        draw.line(rng.uniform(0, side, 4).tolist(), fill=_colour(rng), width=int(rng.integers(1, 6)))


def _letters(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    size, colour = float(rng.uniform(8, max(12, side / 4))), _colour(rng)
    font = ImageFont.load_default(size)
    for line in range(int(rng.integers(1, 5))):
        place = (float(rng.uniform(-0.2, 0.2)) * side, float(rng.uniform(0, 0.9)) * side + line * size)
        draw.text(place, "".join(rng.choice([*LETTERS, " "], 40).tolist()), fill=colour, font=font)


SHAPES: list[Draw] = [_stripes, _polygon, _ellipse, _lines, _letters]


def pattern(side: int, scale: int, rng: np.random.Generator) -> Tile:
    """A pattern of single pixels in two colours, or with a different pattern for each channel. ``low`` is (side, side, 3), uint8.

    The large picture has a square for each pixel. At scales above 2, the edges of the squares are as soft, measured in pixels of
    the small picture, as bicubic makes the edges of squares at a scale of 2.
    """
    if rng.random() < 0.5:
        first, second = np.zeros(3, np.uint8), np.full(3, 255, np.uint8)
    else:
        first = rng.integers(256, size=3, dtype=np.uint8)
        second = first + rng.integers(LEAST_CONTRAST, 256 - LEAST_CONTRAST, size=3, dtype=np.uint8)  # modulo 256
    masks = np.stack([pixel_mask(side, rng) for _ in range(int(rng.choice((1, 3))))], -1)
    if rng.random() < 0.3:
        y, x = rng.integers(side, size=2)
        masks[:y, :x] = False
    low = np.where(masks, second, first)
    squares = Image.fromarray(low.repeat(2, 0).repeat(2, 1))
    return Tile(low, np.asarray(squares.resize((side * scale, side * scale), Image.Resampling.BICUBIC)))


def pixel_mask(side: int, rng: np.random.Generator) -> Mask:
    """A mask (side, side): a small tile repeated, as in chequers and lines of one pixel, or shades as dither or as noise."""
    kind = int(rng.integers(4))
    if kind == 0:
        height, width = rng.choice((1, 2, 2, 3, 4), 2)
        tile = rng.random((height, width)) < 0.5
        if tile.all() or not tile.any():
            tile[0, 0] ^= True
        return np.tile(tile, (-(-side // height), -(-side // width)))[:side, :side]
    few = Image.fromarray(rng.integers(256, size=(3, 3), dtype=np.uint8))
    shades = few.resize((side, side), Image.Resampling.BICUBIC)
    if kind == 1:
        return np.array(shades.convert("1", dither=Image.Dither.FLOYDSTEINBERG))
    if kind == 2:
        return np.asarray(shades) > rng.integers(255, size=(side, side))
    thresholds = (_bayer(2 << int(rng.integers(3))) + 0.5) * 255
    repeats = -(-side // len(thresholds))
    return np.asarray(shades) > np.tile(thresholds, (repeats, repeats))[:side, :side]


def _bayer(side: int) -> NDArray[np.float64]:
    """The thresholds of ordered dither (B. E. Bayer, 1973), (side, side), whose mean is 0. The side is a power of two.

    With a side of 8, they go from -63/128 to 63/128 in steps of 1/64.
    """
    pattern = np.zeros((1, 1))
    while len(pattern) < side:
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    return (pattern + 0.5) / side**2 - 0.5
