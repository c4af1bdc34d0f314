"""What is done to video before it is shown: earlier resizes, 4:2:0 chroma, and real codecs, here on short sequences.

A sequence is a still that a moving camera sees. The window pans and zooms by fractions of a pixel, so that a codec predicts frames
from each other and leaves the artefacts that it leaves in video. One frame of the sequence is the sample. In this frame the window
lies on whole pixels, so that the high resolution is the still itself, not resampled.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..evaluation.codecs import REPRODUCIBLE_X264
from ..evaluation.metrics import Picture
from ..program.colour import (
    Colorimetry,
    Matrix,
    PlaneFormat,
    Range,
    Siting,
    chroma_downsampler,
    chroma_upsampler,
    rgb_to_yuv,
    sample_scale,
    siting_offsets,
    yuv_to_rgb,
)
from .degradation_config import Codec, Degradation
from .shards import Tile, Tiles

Planes = NDArray[np.uint8]
"""Frames of 4:2:0 with 8 bits, (frames, H * 3 / 2, W): the rows of Y, then of U, then of V, as PyAV has them."""

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "medium")
"""The presets of libx264 that are drawn from."""

MAX_ZOOM = 0.01
"""Largest relative change of the window's size from one frame to the next."""

MAX_PAN = 6.0
"""Farthest that the window moves from one frame to the next, in pixels of the high resolution."""

STILL_SHARE = 0.25
"""Share of sequences without motion."""


def degrade(still: Picture, scale: int, options: Degradation, rng: np.random.Generator) -> Tile:
    """One frame of a degraded sequence: low is (frame_size, frame_size, 3), and high is ``scale`` times as large.

    The still has at least ``scale * frame_size`` pixels on each side. All random numbers come from ``rng``.
    """
    codec = options.codecs[int(rng.choice(len(options.codecs), p=_shares(options.codecs)))]
    count = 1 if codec.type == "mjpeg" else options.frames
    shown = int(rng.integers(count))
    boxes = camera_path(still.shape[:2], scale * options.frame_size, count, shown, rng)
    frames = _reduced(still, boxes, options, rng)
    colour = _colorimetry(codec, rng)
    low = to_rgb(_through(codec, to_420(frames, colour), rng)[shown], colour)
    left, top, right, bottom = boxes[shown].astype(int)
    return Tile(low, still[top:bottom, left:right].copy())  # a view would keep the whole picture


def camera_path(size: tuple[int, ...], side: int, count: int, shown: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Where the window of each frame lies in a picture of ``size`` (H, W): (frames, 4), left, top, right and bottom in pixels.

    Pan and zoom are steady, and all windows lie in the picture. They are about ``side`` wide and high; that of the frame ``shown``
    is exactly so, and lies on whole pixels.
    """
    moving = rng.random() >= STILL_SHARE
    pan, zoom = moving * rng.uniform(-MAX_PAN, MAX_PAN, 2), moving * rng.uniform(-MAX_ZOOM, MAX_ZOOM)
    time = np.arange(count)[:, None] - shown
    grown = time * zoom * side / 2
    motion = np.concatenate([time * pan - grown, time * pan + grown], 1)
    free = np.array([size[1], size[0]], float) - side
    first, last = motion[:, :2].min(0), motion[:, 2:].max(0)
    # One pixel is kept for the rounding of the origin.
    slower = np.min(np.clip(free - 1, 0, None) / np.maximum(last - first, 1e-9))
    motion *= min(1.0, float(slower))
    first, last = motion[:, :2].min(0), motion[:, 2:].max(0)
    origin = rng.integers(np.ceil(-first).astype(int), np.floor(free - last).astype(int), endpoint=True)
    return motion + np.concatenate([origin, origin + side])


def _reduced(still: Picture, boxes: NDArray[np.float64], options: Degradation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The windows at the low resolution, (frames, frame_size, frame_size, 3)."""
    side = options.frame_size
    picture = Image.fromarray(np.ascontiguousarray(still))
    if rng.random() >= options.resize_prob:
        return np.stack([np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, tuple(box))) for box in boxes])
    # The earlier picture of another size, with the ringing that two resizes leave.
    least, most = options.resize_range
    earlier = round(side * rng.uniform(least, most))
    lanczos = Image.Resampling.LANCZOS
    masters = [picture.resize((earlier, earlier), lanczos, tuple(box)) for box in boxes]
    return np.stack([np.asarray(master.resize((side, side), lanczos)) for master in masters])


def _shares(codecs: Sequence[Codec]) -> NDArray[np.float64]:
    weights = np.array([codec.weight for codec in codecs])
    return weights / weights.sum()


def _colorimetry(codec: Codec, rng: np.random.Generator) -> Colorimetry:
    """JFIF's for JPEG; otherwise limited range and chroma sited left, as in MPEG-2 and H.264."""
    if codec.type == "mjpeg":
        return Colorimetry(Matrix.BT470_BG, Range.FULL, Siting.CENTER)
    standard = codec.type == "mpeg2video" or rng.random() < 0.5
    return Colorimetry(Matrix.ST170_M if standard else Matrix.BT709, Range.LIMITED, Siting.LEFT)


def to_420(frames: NDArray[np.uint8], colour: Colorimetry) -> Planes:
    """RGB (frames, H, W, 3), uint8, to planes. H and W are even."""
    count, height, width = frames.shape[:3]
    yuv = (frames.astype(np.float32) / 255 @ rgb_to_yuv(colour.matrix).T.astype(np.float32)).transpose(3, 0, 1, 2)
    rows, columns = (_chroma_matrix(n, axis, colour.siting, False) for axis, n in enumerate((height, width)))
    values = [yuv[0], *(rows @ plane @ columns.T for plane in yuv[1:])]
    scales = [sample_scale(plane, colour) for plane in _format(width, height).planes]
    samples = [
        (v * scale + offset).round().clip(0, 255).astype(np.uint8) for v, (scale, offset) in zip(values, scales, strict=True)
    ]
    # Rows of chroma are half as long, and two of them take a row of the planes.
    return np.concatenate([samples[0], *(plane.reshape(count, height // 4, width) for plane in samples[1:])], 1)


def to_rgb(planes: Planes, colour: Colorimetry) -> Picture:
    """The planes of one frame, (H * 3 / 2, W), to RGB (H, W, 3), uint8. Chroma is enlarged by bicubic, as in the filter."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    parts = np.split(planes.astype(np.float32), [height, height + height // 4])
    scales = [sample_scale(plane, colour) for plane in _format(width, height).planes]
    luma, *chroma = ((part - offset) / scale for part, (scale, offset) in zip(parts, scales, strict=True))
    rows, columns = (_chroma_matrix(n, axis, colour.siting, True) for axis, n in enumerate((height, width)))
    yuv = np.stack([luma, *(rows @ plane.reshape(height // 2, width // 2) @ columns.T for plane in chroma)], -1)
    return ((yuv @ yuv_to_rgb(colour.matrix).T) * 255).round().clip(0, 255).astype(np.uint8)


def _format(width: int, height: int) -> PlaneFormat:
    return PlaneFormat("YUV", 8, False, 1, 1, width, height)


@cache
def _chroma_matrix(length: int, axis: int, siting: Siting, up: bool) -> NDArray[np.float32]:
    """Chroma resampling along an axis (0 for height, 1 for width) as a matrix.

    It is (length, length / 2) from chroma to luma positions where ``up`` is True, else (length / 2, length) and back.
    """
    offset = siting_offsets(siting, (2, 2))[axis]
    resampler = (chroma_upsampler if up else chroma_downsampler)(2, offset)
    half, phases = length // 2, len(resampler.taps)
    matrix = np.zeros((length, half) if up else (half, length), np.float32)
    for k in range(half):
        for phase, taps in enumerate(resampler.taps):
            for tap, weight in enumerate(taps):
                at = (k if up else 2 * k) + resampler.first + tap
                matrix[phases * k + phase, np.clip(at, 0, matrix.shape[1] - 1)] += weight
    return matrix


def _through(codec: Codec, planes: Planes, rng: np.random.Generator) -> Planes:
    """Encode and decode with a quality and other settings of the encoder that are drawn at random."""
    least, most = codec.quality
    if codec.type == "libx264":
        options = {"crf": f"{rng.uniform(least, most):.2f}", "preset": str(rng.choice(PRESETS))}
    else:
        quantiser = str(int(rng.integers(int(least), int(most), endpoint=True)))
        options = {"qmin": quantiser, "qmax": quantiser}
    # JPEG predicts no frame from another, and its encoder refuses settings for that.
    gop, between = (1, 0) if codec.type == "mjpeg" else (int(rng.integers(2, 13)), int(rng.integers(4)))
    return encode_and_decode(codec.type, planes, options, gop, between)


def encode_and_decode(name: str, planes: Planes, options: dict[str, str], gop: int, b_frames: int) -> Planes:
    """The frames as they come back from the encoder ``name`` of FFmpeg and its decoder, in their order.

    Args:
        options: the encoder's private options.
        gop: number of frames from one that is not predicted from others to the next.
        b_frames: most frames in a row that are predicted from both sides.
    """
    encoder: Any = av.CodecContext.create(name, "w")
    encoder.width, encoder.height = planes.shape[2], planes.shape[1] * 2 // 3
    encoder.pix_fmt = "yuvj420p" if name == "mjpeg" else "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.gop_size, encoder.max_b_frames = gop, b_frames
    encoder.options = {**(REPRODUCIBLE_X264 if name == "libx264" else {}), **options}
    decoder: Any = av.CodecContext.create("h264" if name == "libx264" else name, "r")
    # For pictures of this size more threads are slower, and with several threads some encoders are not deterministic.
    encoder.thread_count = decoder.thread_count = 1
    packets = []
    for time, frame in enumerate(planes):
        picture = av.VideoFrame.from_ndarray(frame, encoder.pix_fmt)
        picture.pts = time
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.stack([frame.to_ndarray() for frame in frames])


class SequencePool:
    """A window on an endless row of degraded samples, each of which is a pure function of the seed and its number.

    The window holds ``pool_size`` samples, and moves on by ``refresh`` samples at each step. So a sample serves several batches,
    which keeps the share of time that codecs take small. A resumed run makes the same samples again.
    """

    def __init__(self, tiles: Tiles, options: Degradation, orient: Callable[[Picture, int], Picture], seed: int) -> None:
        self.tiles, self.options, self.orient, self.seed = tiles, options, orient, seed
        self.first = 0
        self.samples: dict[int, Tile] = {}

    def move_to(self, step: int) -> None:
        """Make those samples of the step's window that are missing, and drop those outside it."""
        self.first = step * self.options.refresh
        window = range(self.first, self.first + self.options.pool_size)
        self.samples = {number: self.samples.get(number) or self._make(number) for number in window}

    def draw(self, rng: np.random.Generator) -> Tile | None:
        """A random sample of the window, or None where the patch is to be clean."""
        if rng.random() < self.options.clean_prob:
            return None
        return self.samples[self.first + int(rng.integers(self.options.pool_size))]

    def _make(self, number: int) -> Tile:
        # The third number makes these random numbers independent of those of the batches.
        rng = np.random.default_rng((self.seed, number, 1))
        still = self.tiles[int(rng.integers(len(self.tiles)))].high
        # The still is turned before it is encoded, since codecs and chroma siting are not the same in all directions.
        return degrade(self.orient(still, int(rng.integers(8))), self.tiles.scale, self.options, rng)
