"""Frames of VapourSynth as numpy planes."""

import numpy as np
import vapoursynth as vs

from ..backends.base import Plane


def planes_of(frame: vs.VideoFrame) -> list[Plane]:
    """Views of a frame's planes, (height, width) each, in the sample's own type. They are valid as long as the frame is."""
    return [np.asarray(frame[plane]) for plane in range(frame.format.num_planes)]


def samples_of(frame: vs.VideoFrame) -> list[Plane]:
    """The planes of a frame to read from, as :func:`planes_of` gives them.

    A plane with samples above the format's peak, which mean the peak, is a copy.
    """
    planes, peak = planes_of(frame), (1 << frame.format.bits_per_sample) - 1
    if planes[0].dtype != np.uint16 or peak == 0xFFFF:
        return planes
    return [np.minimum(plane, np.uint16(peak)) if plane.max() > peak else plane for plane in planes]


def new_frame(fmt: vs.VideoFormat, width: int, height: int, props_from: vs.VideoFrame | None = None) -> vs.VideoFrame:
    """A frame of undefined samples with all properties of another one, or with none."""
    frame = vs.core.create_video_frame(fmt, width, height)
    if props_from is not None:
        frame.props.update(props_from.props)
    return frame


def with_properties(picture: vs.VideoFrame, props_from: vs.VideoFrame) -> vs.VideoFrame:
    """A frame that shares the samples of one without properties, and has all properties of another one.

    VapourSynth copies a plane before it is written to in either.
    """
    frame = picture.copy()
    frame.props.update(props_from.props)
    return frame
