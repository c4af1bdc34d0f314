"""The published video mode, the feature tap, as a pure function of a frame and the few before it.

Published it is a recursion over what ``conv_in`` gives, f_n = (1 - a) conv_in(x_n) + a f_(n-1) with a = 0.2, that begins anew with
each scene. ``conv_in`` is affine, as is all before it, and so f_n is ``conv_in`` of an average of the frames' very samples. Begun K
frames back, it is off from one begun earlier by at most a^(K + 1) of the largest change of the features.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..backends.base import Plane
from ..program.colour import PlaneFormat

TAP = 0.2
"""The share of the frame before that stays, a in the formula above."""

MOST_FRAMES = 10
"""The most earlier frames that count: 0.2^11 is 2e-8, which float32 does not hold."""

CHUNK = 1 << 16
"""How many samples are averaged at once. They and their sums fit into the processor's cache."""

CUT = 0.06
"""The :func:`difference` from which on a frame begins a scene. Measured: 0.021 at most from frame to frame of camera and
animation, 0.132 at a cut, 0.079 or more between pictures that have nothing to do with each other; a pan reaches it at some 5% of
the width a frame."""

BLOCKS = 16
"""How many blocks a picture is cut into along each side, to compare their brightness."""

POINTS = 8
"""How many samples of a block are looked at along each side."""


def averages(scene: Sequence[Sequence[Plane]], numbers: type[np.floating] = np.float32) -> list[NDArray[np.floating]]:
    """What the learned path is given in place of the current frame.

    Args:
        scene: planes of the current frame, then of the ones before it in the same scene, the latest first; of one format.
        numbers: the result's dtype, ``np.float32`` or ``np.float64``.

    Returns:
        The planes' averages in the samples' own codes, (height, width) each. Where all frames are equal they are the frame,
        exactly.
    """
    return [_average(frames, numbers) for frames in zip(*scene, strict=True)]


def _average(frames: Sequence[Plane], numbers: type[np.floating]) -> NDArray[np.floating]:
    found = np.empty(frames[0].shape, numbers)
    rows = max(1, CHUNK // found.shape[1])
    changes = np.empty((rows, found.shape[1]), numbers)
    for top in range(0, len(found), rows):
        state = found[top : top + rows]
        change = changes[: len(state)]
        state[...] = frames[-1][top : top + rows]
        for frame in frames[-2::-1]:
            np.subtract(frame[top : top + rows], state, out=change)
            change *= numbers(1 - TAP)
            state += change
    return found


def begins_scene(planes: Sequence[Plane], before: Sequence[Plane], fmt: PlaneFormat) -> bool:
    """Whether a frame has little to do with the one before it, judged by its luma, of RGB its green."""
    plane = 1 if fmt.family == "RGB" else 0
    span = 1 if fmt.is_float else (1 << fmt.bits) - 1
    return difference(planes[plane], before[plane]) > CUT * span


def difference(plane: Plane, other: Plane) -> float:
    """The mean absolute difference of two planes' brightness in 16x16 blocks, in the samples' codes.

    What moves within a block, and noise, hardly changes its brightness.
    """
    return float(np.abs(_blocks(plane) - _blocks(other)).mean())


def _blocks(plane: Plane) -> NDArray[np.float32]:
    """(16, 16): the mean of a few samples of each block."""
    rows, columns = (np.arange(BLOCKS * POINTS) * side // (BLOCKS * POINTS) for side in plane.shape)
    return plane[rows[:, None], columns].reshape(BLOCKS, POINTS, BLOCKS, POINTS).mean((1, 3), np.float32)
