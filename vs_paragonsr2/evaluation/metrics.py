"""Picture quality as the field reports it."""

import numpy as np
from numpy.typing import NDArray

type Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""

# BT.601 luma in limited range from 8-bit RGB, with the weights of MATLAB's rgb2ycbcr.
LUMA_601 = np.array([65.481, 128.553, 24.966]) / 255.0


def luma(rgb: Picture) -> NDArray[np.float64]:
    """BT.601 Y in code values (16..235, not rounded) of 8-bit RGB, (..., 3) to (...)."""
    return rgb.astype(np.float64) @ LUMA_601 + 16.0


def crop_both[T: np.generic](a: NDArray[T], b: NDArray[T], crop: int) -> tuple[NDArray[T], NDArray[T]]:
    """Two pictures or planes (H, W, ...) without ``crop`` pixels at each border.

    Raises:
        ValueError: the shapes differ, or nothing is left after cropping.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of {a.shape} and {b.shape} cannot be compared: equal shapes are needed")
    if min(a.shape[:2]) <= 2 * crop:
        raise ValueError(f"crop is {crop}: too much for a picture of {a.shape[1]}x{a.shape[0]}")
    inside = slice(crop, -crop or None)
    return a[inside, inside], b[inside, inside]


def psnr(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """PSNR in dB of two planes in code values of 8 bits, with the peak at 255. It is infinite for equal planes."""
    error = np.mean((a - b) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def psnr_luma(a: Picture, b: Picture, crop: int) -> float:
    """Luma PSNR in dB of two 8-bit RGB pictures (H, W, 3), with ``crop`` pixels left out at each border.

    It is infinite for equal pictures.

    Raises:
        ValueError: the shapes differ, or nothing is left after cropping.
    """
    a, b = crop_both(a, b, crop)
    return psnr(luma(a), luma(b))
