"""Real programs: vspipe on real clips, y4m into ffmpeg, and the result decoded again."""

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import vapoursynth as vs
from bootstrap import ROOT, program
from conftest import CLIPS, SHARED
from PIL import Image
from route import Planes, planes_at, upscaled_by_hand

from vs_paragonsr2 import load_network, shipped_models

SAMPLES = ROOT / "scripts/samples"
H264 = CLIPS / "flower_960x540.mp4"
MPEG2 = CLIPS / "city_720x405.mpg"


def vspipe(script: Path, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [str(program("vspipe")), *map(str, arguments), str(script)]
    return subprocess.run(command if "--info" in command else [*command, "-"], cwd=cwd, capture_output=True, check=False)


def y4m_planes(data: bytes, width: int, height: int, frames: int) -> list[Planes]:
    """The frames of a YUV420P8 stream, which must hold them and nothing else."""
    header, _, body = data.partition(b"\n")
    assert header.startswith(b"YUV4MPEG2 ")
    assert {f"W{width}".encode(), f"H{height}".encode()} <= set(header.split())
    size = width * height * 3 // 2
    assert len(body) == frames * (size + len(b"FRAME\n"))
    result = []
    for n in range(frames):
        frame = body[n * (size + 6) : (n + 1) * (size + 6)]
        assert frame.startswith(b"FRAME\n")
        samples = np.frombuffer(frame[6:], np.uint8)
        luma, u, v = np.split(samples, [width * height, width * height * 5 // 4])
        chroma = (height // 2, width // 2)
        result.append([luma.reshape(height, width), u.reshape(chroma), v.reshape(chroma)])
    return result


def plain_network(clip: vs.VideoNode, n: int) -> Planes:
    """Frame n by the resizer and the network alone."""
    props = clip.get_frame(n).props
    matrix = props["_Matrix"] if props["_Matrix"] != 2 else 6 if clip.height <= 576 else 1
    network = load_network(shipped_models()["realtime", 2])
    colour = {"matrix": matrix, "range": props["_Range"], "chromaloc": props["_ChromaLocation"]}
    return upscaled_by_hand(planes_at(clip, n), clip.format.id, network, 16, **colour)


def assert_equal_pictures(got: Planes, expected: Planes) -> None:
    error = np.concatenate([np.abs(a.astype(int) - b.astype(int)).ravel() for a, b in zip(got, expected, strict=True)])
    assert error.max() <= 1
    assert np.mean(error > 0) <= 0.005


@pytest.mark.parametrize(("path", "codec", "rate"), [(H264, "h264", "30000/1001"), (MPEG2, "mpeg2video", "25")])
def test_a_clip_through_vspipe_and_ffmpeg(path: Path, codec: str, rate: str, tmp_path: Path, ffmpeg: str) -> None:
    with av.open(str(path)) as source:
        assert source.streams.video[0].codec_context.name == codec
    clip = vs.core.bs.VideoSource(str(path), cachemode=0, showprogress=False)
    last, out = 4, tmp_path / "out.mkv"
    with subprocess.Popen(
        [program("vspipe"), "-c", "y4m", "-e", str(last), "-a", f"source={path}", SAMPLES / "encode.vpy", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as pipe:
        subprocess.run([ffmpeg, "-v", "error", "-i", "-", "-c:v", "ffv1", out], stdin=pipe.stdout, check=True)
    assert pipe.returncode == 0
    with av.open(str(out)) as result:
        stream = result.streams.video[0]
        assert stream.average_rate == Fraction(rate)
        frames = list(result.decode(stream))
    assert len(frames) == last + 1
    assert {(f.width, f.height, f.format.name) for f in frames} == {(2 * clip.width, 2 * clip.height, "yuv420p")}
    for n, frame in enumerate(frames):
        assert abs(frame.time - n / Fraction(rate)) < 1e-3
    for n in (0, last):
        planes = frames[n].to_ndarray()  # the planes one under the other, chroma rows packed
        height, width = frames[n].height, frames[n].width
        luma, u, v = np.split(planes.ravel(), [height * width, height * width * 5 // 4])
        chroma = (height // 2, width // 2)
        assert_equal_pictures([luma.reshape(height, width), u.reshape(chroma), v.reshape(chroma)], plain_network(clip, n))


def test_nothing_but_frames_is_on_stdout_whatever_the_requests() -> None:
    streams = []
    for requests in (1, 7):
        done = vspipe(SAMPLES / "encode.vpy", "-c", "y4m", "-r", requests, "-e", 3, "-a", f"source={MPEG2}")
        assert done.returncode == 0, done.stderr
        y4m_planes(done.stdout, 1440, 808, 4)
        streams.append(done.stdout)
    assert streams[0] == streams[1]


def test_preview_sample(tmp_path: Path) -> None:
    for output in (0, 1, 2):
        done = vspipe(SAMPLES / "preview.vpy", "--info", "-o", output, "-a", f"source={MPEG2}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert b"Width: 1440\n" in done.stdout.replace(b"\r", b"")
        assert b"Height: 808\n" in done.stdout.replace(b"\r", b"")
        assert b"Frames: 14\n" in done.stdout.replace(b"\r", b"")
    single = [vspipe(SAMPLES / "preview.vpy", "-c", "y4m", "-o", n, "-e", 0, "-a", f"source={MPEG2}") for n in (0, 1, 2)]
    (resized,), (upscaled,), (both,) = (y4m_planes(done.stdout, 1440, 808, 1) for done in single)
    for plane, (left, right) in zip(both, zip(resized, upscaled, strict=True), strict=True):
        quarter = plane.shape[1] // 4
        assert np.array_equal(plane, np.hstack([left[:, quarter:-quarter], right[:, quarter:-quarter]]))
        assert not np.array_equal(left, right)


@pytest.mark.parametrize("name", ["encode.vpy", "preview.vpy"])
def test_a_sample_as_pasted(name: str, tmp_path: Path) -> None:
    """As VSEdit runs it, which evaluates scripts as vspipe does: without arguments, the clip in the script's folder."""
    shutil.copy(MPEG2, tmp_path / "in.mkv")
    script = Path(shutil.copy(SAMPLES / name, tmp_path))
    info = vspipe(script, "--info")
    assert info.returncode == 0, info.stderr
    assert b"Frames: 14\n" in info.stdout.replace(b"\r", b"")
    y4m_planes(vspipe(script, "-c", "y4m", "-e", 1).stdout, 1440, 808, 2)


def test_a_refusal_reaches_the_user_of_vspipe(tmp_path: Path) -> None:
    script = tmp_path / "bad.vpy"
    script.write_text(
        "import vapoursynth as vs\nfrom vs_paragonsr2 import upscale\n"
        "upscale(vs.core.std.BlankClip(format=vs.YUV420P8), scale=7).set_output()\n",
        encoding="utf-8",
    )
    done = vspipe(script, "-c", "y4m")
    assert done.returncode != 0
    assert b"upscale: scale is 7: the model 'realtime' has 2" in done.stderr
    assert done.stdout == b""


def test_demo(tmp_path: Path) -> None:
    """The first command of the README, from inside the environment that it makes."""
    command = [sys.executable, ROOT / "scripts/demo.py", MPEG2, "--out", tmp_path / "out"]
    done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    video, picture = tmp_path / "out/city_720x405_2x.mkv", tmp_path / "out/city_720x405_2x.png"
    assert str(video) in done.stdout and str(picture) in done.stdout
    with av.open(str(video)) as result:
        assert sum(1 for _ in result.decode(video=0)) == 14
        assert (result.streams.video[0].width, result.streams.video[0].height) == (1440, 808)
    with Image.open(picture) as both:
        assert both.size == (1280, 640)


def test_the_whole_shared_clips_have_no_surprise() -> None:
    """Needs shared/data/video: the first and last frame of the clips that do not ship."""
    folder = SHARED / "data/video"
    if not folder.exists():
        pytest.skip(f"needs {folder.relative_to(SHARED.parent)} beside the checkout")
    path = folder / "bigbuckbunny_1280x720.mp4"
    done = vspipe(SAMPLES / "encode.vpy", "-c", "y4m", "-s", 131, "-a", f"source={path}")
    assert done.returncode == 0, done.stderr
    y4m_planes(done.stdout, 2560, 1440, 1)
