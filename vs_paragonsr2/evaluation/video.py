"""Scenes: a clip is the original; it is reduced, possibly encoded, decoded, upscaled, and compared frame by frame.

Planes stay planes: the original's own luma is the reference, in code values, and no conversion from and to RGB lies before it.
Matrix and range are the clip's, as the filter would read them. One frame of each kind is in memory at a time.
"""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
import torch
import vapoursynth as vs
from numpy.typing import NDArray
from PIL import Image

from ..backends.reference.session import Upsampler
from ..clip.colorimetry import ColorimetryReader
from ..clip.frames import planes_of
from ..program.colour import Colorimetry, Matrix, PlaneFormat, Range, Siting
from ..support.errors import ParagonSR2Error
from .codecs import REPRODUCIBLE_X264
from .figures import Figures, Measured, compare_luma, one_frame, ssimulacra2
from .metrics import Picture, crop_both
from .upscalers import open_session

type Frame = list[NDArray[np.uint8]]
"""Y, U and V in 8-bit 4:2:0; the sides of Y are even."""

NOISE = 2.0
"""Standard deviation of the camera's noise in a still scene, in luma code values of the reduced frames."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An original and what is made of it. Each call of ``high`` or ``low`` gives the frames from the start."""

    name: str
    colour: Colorimetry
    rate: Fraction
    """Frames a second."""
    high: Callable[[], Iterator[Frame]]
    low: Callable[[], Iterator[Frame]]


def read_scene(path: Path, scale: int, count: int) -> Scene:
    """The first frames of a clip, or of a folder of pictures; sides are cropped to multiples of twice the scale.

    Raises:
        ParagonSR2Error: this is no clip of 8-bit 4:2:0, or its matrix cannot be worked with.
    """
    folder = path.is_dir()
    colour, rate = (Colorimetry(Matrix.BT709, Range.LIMITED, Siting.LEFT), Fraction(24)) if folder else _probe(path)

    def cropped() -> Iterator[Frame]:
        for y, u, v in islice(_read_folder(path) if folder else _read_clip(path), count):
            height, width = (side - side % (2 * scale) for side in y.shape)
            yield [y[:height, :width], u[: height // 2, : width // 2], v[: height // 2, : width // 2]]

    return Scene(path.stem, colour, rate, cropped, lambda: (_reduce(frame, scale, colour) for frame in cropped()))


def still_scene(scene: Scene, count: int) -> Scene:
    """The first frame of a scene, again and again, seen by a camera with noise: whatever moves in the result is flicker."""

    def high() -> Iterator[Frame]:
        frame = next(scene.high())
        yield from (frame for _ in range(count))

    def low() -> Iterator[Frame]:
        luma, *chroma = next(scene.low())
        generator = np.random.default_rng(0)
        for _ in range(count):
            noisy = luma + generator.normal(0, NOISE, luma.shape)
            yield [np.clip(np.rint(noisy), 0, 255).astype(np.uint8), *chroma]

    return replace(scene, name=f"{scene.name}, still", high=high, low=low)


def measure_scene(
    scene: Scene, low: Iterable[Frame], upscalers: dict[str, Upsampler], scale: int, device: torch.device
) -> Iterator[Measured]:
    """Each frame by each upscaler, ``scale`` pixels left out at each border.

    Args:
        low: the frames to upscale: ``scene.low()``, or what an encoder has left of them.

    Yields:
        Figures of Y, and SSIMULACRA 2 of RGB. From the second frame on, flicker: how much the error changes from one frame to the
        next, the mean of abs((Y[t] - Y[t - 1]) - (original[t] - original[t - 1])), in code values. In a still scene the original
        does not change, and flicker is all that moves.
    """
    sessions = {}
    errors: dict[str, NDArray[np.int16]] = {}
    for number, (original, reduced) in enumerate(zip(scene.high(), low, strict=True)):
        height, width = reduced[0].shape
        source = PlaneFormat("YUV", 8, False, 1, 1, width, height)
        seen = to_rgb(original, scene.colour)
        pictures: dict[str, Picture] = {}
        figures: dict[str, Figures] = {}
        for name, upscaler in upscalers.items():
            if name not in sessions:
                sessions[name] = open_session(upscaler, source, scene.colour, device)
            planes = [np.empty(plane.shape, np.uint8) for plane in original]
            sessions[name].run(reduced, planes)
            pictures[name] = to_rgb(planes, scene.colour)
            a, b = crop_both(planes[0], original[0], scale)
            figures[name] = {
                **compare_luma(a, b),
                "ssimulacra2": ssimulacra2(*crop_both(pictures[name], seen, scale)),
            }
            error = a.astype(np.int16) - b
            if name in errors:
                figures[name]["flicker"] = float(np.abs(error - errors[name]).mean())
            errors[name] = error
        yield Measured(str(number), pictures, seen, figures)


def encoded(scene: Scene, crf: int) -> tuple[Path, float]:
    """Encode ``scene.low()`` with x264 (preset medium) into a temporary file, which the caller removes.

    Each time gives the same bytes, by one thread and :data:`REPRODUCIBLE_X264`.

    Returns:
        The file, and its rate in kilobits a second.
    """
    with tempfile.NamedTemporaryFile(suffix=".mp4", delete=False) as file:
        path = Path(file.name)
    sizes: list[int] = []
    with av.open(path, "w") as container:
        stream = container.add_stream(
            "libx264", rate=scene.rate, options={**REPRODUCIBLE_X264, "crf": str(crf), "preset": "medium"}
        )
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.height, stream.width = next(scene.low())[0].shape
        stacked = (np.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, stream.width) for planes in scene.low())
        frames = (av.VideoFrame.from_ndarray(planes, format="yuv420p") for planes in stacked)
        for frame in chain(frames, [None]):  # None drains the encoder
            packets = stream.encode(frame)
            sizes.extend(packet.size for packet in packets)
            container.mux(packets)
    return path, float(np.mean(sizes)) * 8 / 1000 * float(scene.rate)


def read_encoded(path: Path) -> Iterator[Frame]:
    """The frames of a file that ``encoded`` wrote."""
    return _read_clip(path)


def to_rgb(planes: Frame, colour: Colorimetry) -> Picture:
    """A frame in RGB by VapourSynth's resizer, for eyes and for figures of colour."""
    node = one_frame(planes, vs.YUV420P8, **_props(colour)).resize.Bicubic(format=vs.RGB24)
    with node.get_frame(0) as frame:
        return np.stack(_copies(frame), 2)


def _reduce(planes: Frame, scale: int, colour: Colorimetry) -> Frame:
    """Reduce a frame by the resizer's antialiased bicubic (a = -0.5), which keeps chroma where it belongs."""
    height, width = planes[0].shape
    node = one_frame(planes, vs.YUV420P8, **_props(colour)).resize.Bicubic(width // scale, height // scale)
    with node.get_frame(0) as frame:
        return _copies(frame)


def _copies(frame: vs.VideoFrame) -> Frame:
    return [plane.astype(np.uint8) for plane in planes_of(frame)]


def _props(colour: Colorimetry) -> dict[str, int]:
    return {"_Matrix": colour.matrix, "_Range": colour.range, "_ChromaLocation": colour.siting}


def _read_clip(path: Path) -> Iterator[Frame]:
    with av.open(path) as container:
        for frame in container.decode(video=0):
            yield [
                np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy()
                for plane in frame.planes
            ]


def _probe(path: Path) -> tuple[Colorimetry, Fraction]:
    """What the first frame of a clip says of itself, with the filter's defaults, and the frame rate."""
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            rate = Fraction(str(stream.average_rate or "25"))
    except (av.FFmpegError, OSError, IndexError, StopIteration) as error:
        raise ParagonSR2Error(f"{path}: no clip that can be decoded ({error})") from error
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        raise ParagonSR2Error(f"{path}: has {frame.format.name}: expected 8-bit 4:2:0")
    full = {"_Range": int(frame.format.name == "yuvj420p" or frame.color_range == 2)}
    source = PlaneFormat("YUV", 8, False, 1, 1, frame.width, frame.height)
    reader = ColorimetryReader.for_clip(source, matrix=None, color_range=None, chroma_location=None)
    return reader.read({"_Matrix": int(frame.colorspace), **full}), rate


def _by_number(path: Path) -> list[tuple[int, str]]:
    """A key for sorting by which 10 comes after 9, however many digits the names have."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _read_folder(folder: Path) -> Iterator[Frame]:
    paths = sorted(folder.glob("*.png"), key=_by_number)
    if not paths:
        raise ParagonSR2Error(f"{folder}: no .png is there")
    for path in paths:
        with Image.open(path) as picture:
            rgb = np.asarray(picture.convert("RGB"))
        rgb = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2]
        node = one_frame(list(np.moveaxis(rgb, 2, 0)), vs.RGB24).resize.Bicubic(format=vs.YUV420P8, matrix=Matrix.BT709)
        with node.get_frame(0) as frame:
            yield _copies(frame)
