"""The same place by each upscaler, side by side, so that a person can judge."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .figures import Measured
from .metrics import Picture, luma

LABEL_HEIGHT = 26
COLUMNS = 4


def detailed_place(picture: Picture, height: int, width: int) -> tuple[slice, slice]:
    """The rows and columns of the part with the most detail, which is where luma changes most from pixel to pixel.

    Where the picture is smaller than the part, the part is the picture.
    """
    rows, columns = picture.shape[:2]
    height, width = min(height, rows), min(width, columns)
    y = luma(picture)
    change = np.zeros_like(y)
    change[:, 1:] += np.abs(np.diff(y, axis=1))
    change[1:] += np.abs(np.diff(y, axis=0))
    step = max(1, min(height, width) // 8)
    places = [(top, left) for top in range(0, rows - height + 1, step) for left in range(0, columns - width + 1, step)]
    top, left = max(places, key=lambda place: change[place[0] : place[0] + height, place[1] : place[1] + width].sum())
    return slice(top, top + height), slice(left, left + width)


def side_by_side(
    measured: Measured, upscalers: list[str] | None = None, *, height: int = 160, width: int = 200, zoom: int = 2
) -> Image.Image:
    """The most detailed place by these upscalers and in the original, each under its name and PSNR.

    Args:
        measured: a picture with the results of all upscalers.
        upscalers: whose results are shown; None shows all.
        height, width: sides of the place, in pixels of the original.
        zoom: how often pixels are repeated in each direction.

    Returns:
        A picture with at most ``COLUMNS`` parts in a row.
    """
    parts = {
        f"{name}  {measured.figures[name]['psnr']:.2f} dB": measured.pictures[name] for name in upscalers or measured.pictures
    } | {"original": measured.original}
    place = detailed_place(measured.original, height, width)
    height, width = (zoom * side for side in measured.original[place].shape[:2])
    rows = -(-len(parts) // COLUMNS)
    columns = -(-len(parts) // rows)
    sheet = Image.new("RGB", (columns * width, rows * (height + LABEL_HEIGHT)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(LABEL_HEIGHT * 0.65)
    for number, (label, picture) in enumerate(parts.items()):
        x, y = number % columns * width, number // columns * (height + LABEL_HEIGHT)
        draw.text((x + 5, y + 2), label, "black", font)
        part = Image.fromarray(np.ascontiguousarray(picture[place]))
        sheet.paste(part.resize((width, height), Image.Resampling.NEAREST), (x, y + LABEL_HEIGHT))
    return sheet
