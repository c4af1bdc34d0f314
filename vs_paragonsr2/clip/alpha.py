"""The transparency of frames, which VapourSynth carries as a frame in the property ``_Alpha``."""

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..program.colour import Resampler, chroma_upsampler
from .frames import new_frame, planes_of, samples_of


def enlarged(alpha: vs.VideoFrame, scale: int) -> vs.VideoFrame:
    """A frame at ``scale`` times the size, by the bicubic filter of ``resize.Bicubic``, within the samples' range.

    A network would ring at the edges of masks.
    """
    fmt = alpha.format
    frame = new_frame(fmt, alpha.width * scale, alpha.height * scale, alpha)
    resampler = chroma_upsampler(scale, (scale - 1) / 2)
    is_float = fmt.sample_type == vs.FLOAT
    peak = 1.0 if is_float else float((1 << fmt.bits_per_sample) - 1)
    for plane, out in zip(samples_of(alpha), planes_of(frame), strict=True):
        rows = _upsampled(plane.astype(np.float32).T, resampler, scale).T
        if not is_float:
            rows = rows.clip(0, peak).round()  # as the resizer keeps them between its two passes
        values = _upsampled(rows, resampler, scale).clip(0, peak)
        out[...] = values if is_float else values.round()
    return frame


def _upsampled(values: NDArray[np.float32], resampler: Resampler, scale: int) -> NDArray[np.float32]:
    """``scale`` rows for each; beyond the edges are the rows mirrored, as the resizer has it."""
    count, taps = len(values), resampler.taps.astype(np.float32)
    before, after = -resampler.first, resampler.first + taps.shape[1] - 1
    padded = np.pad(values, ((before, after), (0, 0)), "symmetric")
    found = np.zeros((count, scale, values.shape[1]), np.float32)
    for tap in range(taps.shape[1]):
        found += taps[:, tap, None] * padded[tap : tap + count, None]
    return found.reshape(count * scale, values.shape[1])
