"""No object of ours outlives its script, with Python's cycle collector off. Each case has a process of its own."""

import subprocess
import sys

import pytest
from conftest import golden

CASE = """
import gc
gc.disable()
import vapoursynth as vs
from vs_paragonsr2 import upscale
from vs_paragonsr2.backends.base import Session
from vs_paragonsr2.backends.openvino import session

MODEL = {model!r}

def fine(clip):
    upscale(clip, MODEL).get_frame(1).close()

def temporal(clip):
    upscale(clip, MODEL, temporal=3).get_frame(3).close()

def fallback(clip):
    def broken(request):
        raise RuntimeError("half installed")
    session.open_session = broken
    upscale(clip, MODEL).get_frame(0).close()

def no_backend_can(clip):
    try:
        upscale(clip, MODEL, device_index=3)
    except vs.Error:
        pass

def refused_argument(clip):
    try:
        upscale(clip, MODEL, scale=7)
    except vs.Error:
        pass

def interlaced(clip):
    clip = clip.std.SetFrameProps(_FieldBased=1)
    for n in range(3):
        try:
            upscale(clip, MODEL).get_frame(n)
        except vs.Error:
            pass

def frames_that_fail(clip):
    def failing(*arguments):
        raise MemoryError("for now")
    Session.run = failing
    result = upscale(clip, MODEL)
    for n in range(4):
        try:
            result.get_frame(n)
        except vs.Error:
            pass

{case}(vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=48, length=4, keep=True))
ours = [
    type(found).__name__
    for found in gc.get_objects()
    if isinstance(found, (vs.VideoNode, vs.VideoFrame, vs.Error, MemoryError, RuntimeError))
    or str(type(found).__module__).startswith("vs_paragonsr2.clip")
    or type(found).__name__ == "ParagonSR2Error"
]
print("left:", *sorted(ours))
"""


@pytest.mark.parametrize(
    "case", ["fine", "temporal", "fallback", "no_backend_can", "refused_argument", "interlaced", "frames_that_fail"]
)
def test_nothing_is_left(case: str) -> None:
    line = [sys.executable, "-c", CASE.format(model=str(golden("realtime_x2")), case=case)]
    done = subprocess.run(line, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines()[-1] == "left:"
    assert "still allocated" not in done.stderr
