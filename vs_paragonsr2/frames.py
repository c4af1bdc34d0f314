"""Frames of VapourSynth as numpy planes."""

import numpy as np
import vapoursynth as vs

from .backends.base import Plane


def planes_of(frame: vs.VideoFrame) -> list[Plane]:
    """Views of a frame's planes, (height, width) each, in the sample's own type. They are valid as long as the frame is."""
    return [np.asarray(frame[plane]) for plane in range(frame.format.num_planes)]


def new_frame(fmt: vs.VideoFormat, width: int, height: int, props_from: vs.VideoFrame) -> vs.VideoFrame:
    """A frame of undefined samples with all properties of another one."""
    frame = vs.core.create_video_frame(fmt, width, height)
    frame.props.update(props_from.props)
    return frame
