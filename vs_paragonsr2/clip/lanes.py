"""Lanes: frames that are computed side by side."""

from collections.abc import Callable, Sequence
from functools import partial

import vapoursynth as vs

from ..program.colour import PlaneFormat

type Render = Callable[..., vs.VideoFrame]
"""``render(n, frame, *earlier)``: frame n of the result from frame n of the clip and frames n - 1, n - 2, ... of it."""


def in_lanes(
    clip: vs.VideoNode, target: PlaneFormat, target_format: vs.VideoFormat, render: Render, lanes: int, earlier: int = 0
) -> vs.VideoNode:
    """A clip whose frames ``render`` makes, ``lanes`` of them at once.

    VapourSynth runs the callback of a ModifyFrame for one frame at a time. So frame n goes to the ModifyFrame of lane n % lanes.

    Args:
        clip: whose frames are rendered.
        target, target_format: size and format of the result.
        render: makes a frame, from any thread.
        lanes: from 1 to the length of the clip.
        earlier: how many earlier frames ``render`` is given; fewer come with the first frames of the clip.

    Returns:
        A clip of the same length and frame rate.
    """
    clips = [clip] + [_delayed(clip, frames) for frames in range(1, earlier + 1)]
    outputs = []
    for lane in range(lanes):
        sources = [c.std.SelectEvery(lanes, lane, modify_duration=False) for c in clips] if lanes > 1 else clips
        blank = sources[0].std.BlankClip(width=target.width, height=target.height, format=target_format.id, keep=True)
        outputs.append(blank.std.ModifyFrame(sources, partial(_frame_of_lane, render, lanes, lane)))
    return vs.core.std.Interleave(outputs, modify_duration=False) if lanes > 1 else outputs[0]


def _delayed(clip: vs.VideoNode, frames: int) -> vs.VideoNode:
    """A clip of the same length that has frame n - ``frames`` at n, and frame 0 where there is none."""
    if clip.num_frames <= frames:
        return clip.std.Trim(length=1).std.Loop(clip.num_frames)
    return clip.std.Trim(length=clip.num_frames - frames).std.DuplicateFrames([0] * frames)


def _frame_of_lane(render: Render, lanes: int, lane: int, n: int, f: vs.VideoFrame | Sequence[vs.VideoFrame]) -> vs.VideoFrame:
    number = n * lanes + lane
    frames = [f] if isinstance(f, vs.VideoFrame) else f[: number + 1]
    return render(number, *frames)
