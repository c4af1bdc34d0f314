"""The route that users take by hand, with VapourSynth's own resizer: what the filter must equal."""

from collections.abc import Sequence

import numpy as np
import torch
import vapoursynth as vs
from conftest import random_planes
from numpy.typing import NDArray

from vs_paragonsr2.checkpoints.network import Network

Planes = list[NDArray[np.generic]]


def clip_of(frames: Sequence[Planes], fmt: int, **props: object) -> vs.VideoNode:
    """A clip of the frames' planes in a format, with the same properties on all."""
    height, width = frames[0][0].shape
    blank = vs.core.std.BlankClip(format=fmt, width=width, height=height, length=len(frames), keep=True)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        for plane, samples in enumerate(frames[n]):
            np.asarray(out[plane])[...] = samples
        return out

    filled = blank.std.ModifyFrame(blank, fill)
    # What BlankClip says of itself is no part of the test.
    filled = filled.std.RemoveFrameProps(["_Matrix", "_Range", "_ChromaLocation", "_FieldBased", "_Primaries", "_Transfer"])
    return filled.std.SetFrameProps(**props) if props else filled


def planes_at(clip: vs.VideoNode, n: int = 0) -> Planes:
    """Copies of the planes of one frame."""
    with clip.get_frame(n) as frame:
        return [np.asarray(frame[plane]).copy() for plane in range(frame.format.num_planes)]


def replicated(planes: Planes, padding: int) -> Planes:
    """Planes that are padded by so many luma samples on each side, chroma in proportion: their edges are repeated."""
    height, width = planes[0].shape
    return [np.pad(p, [(padding * p.shape[0] // height,) * 2, (padding * p.shape[1] // width,) * 2], mode="edge") for p in planes]


def upscaled_by_hand(
    planes: Planes, fmt: int, network: Network, padding: int, output_format: int | None = None, **colour: int
) -> Planes:
    """resize.Bicubic to RGBS, the network in float32, resize.Bicubic back; frames replicate-padded first and cropped last.

    ``colour``: ``matrix``, ``range``, ``chromaloc`` by number, as the resizer's arguments.
    """
    height, width = planes[0].shape
    video = vs.core.get_video_format(fmt)
    clip = clip_of([replicated(planes, padding)], fmt)
    if video.color_family == vs.RGB:
        colour = {"range": colour["range"]}
    to_rgb = {f"{name}_in": value for name, value in colour.items()}
    rgb = torch.from_numpy(np.stack(planes_at(clip.resize.Bicubic(format=vs.RGBS, **to_rgb))))[None]
    with torch.inference_mode():
        result = network(rgb)[0].numpy()
    back = clip_of([list(result)], vs.RGBS).resize.Bicubic(format=output_format or fmt, **colour)
    cropped = []
    for plane in planes_at(back):
        rows, columns = (side * network.scale for side in (height, width))
        rows, columns = rows * plane.shape[0] // result.shape[1], columns * plane.shape[1] // result.shape[2]
        top, left = (plane.shape[0] - rows) // 2, (plane.shape[1] - columns) // 2
        cropped.append(plane[top : top + rows, left : left + columns])
    return cropped


def noise(length: int = 1, fmt: int = vs.YUV420P8, width: int = 16, height: int = 12) -> list[Planes]:
    """Frames of uniform noise, each another one."""
    return [random_planes(fmt, width, height, seed) for seed in range(length)]


def equal(a: Planes, b: Planes) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
