"""Where tests find their files, and the random pictures that they share."""

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import demo
import numpy as np
import pytest
import vapoursynth as vs
import vsutil
from benchmarks import peer
from numpy.typing import NDArray
from PIL import Image

from vs_paragonsr2.backends import Request, find_backend
from vs_paragonsr2.checkpoints.models import Model
from vs_paragonsr2.program.colour import ClipSpec

TESTS = Path(__file__).parent
CLIPS = TESTS / "clips"
SHARED = TESTS.parents[1] / "shared"


def golden(name: str) -> Path:
    """A golden checkpoint or its ``.io`` file; the large ones are not in the repository, and a test of one skips."""
    path = TESTS / "golden" / f"{name}.safetensors"
    return path if path.exists() else shared(f"golden/{name}.safetensors")


def shared(name: str) -> Path:
    """A file or folder of the data that lies beside the checkout, where there is any."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs shared/{name} beside the checkout")
    return path


def request_of(
    backend: str,
    model: Model,
    spec: ClipSpec,
    *,
    device: str | None = None,
    num_streams: int = 1,
    alpha: float | None = None,
    **own: Any,
) -> Request[Any]:
    """What a session of a backend is asked for, without a clip; ``own`` are fields of the backend's options."""
    described = find_backend(backend)
    options = described.options_type(device=device or described.devices[0], num_streams=num_streams, **own)
    return Request(model, spec, options, backend, alpha)


def random_planes(fmt: int, width: int, height: int, seed: int = 0) -> list[NDArray[np.generic]]:
    """Planes of uniform noise over the whole range of a format."""
    clip = vs.core.std.BlankClip(format=fmt, width=width, height=height, length=1)
    rng = np.random.default_rng(seed)
    planes: list[NDArray[np.generic]] = []
    for plane in range(clip.format.num_planes):
        columns, rows = vsutil.get_plane_size(clip, plane)
        chroma = plane > 0 and clip.format.color_family == vs.YUV
        least, most = vsutil.get_lowest_value(clip, chroma=chroma), vsutil.get_peak_value(clip, chroma=chroma)
        samples = least + rng.random((rows, columns)) * (most - least)
        if clip.format.sample_type == vs.FLOAT:
            planes.append(samples.astype(np.float16 if clip.format.bits_per_sample == 16 else np.float32))
        else:
            planes.append(samples.round().astype(np.uint8 if clip.format.bits_per_sample == 8 else np.uint16))
    return planes


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor fill the user's cache, in this process or in those that they start."""
    os.environ["VS_PARAGONSR2_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    return demo.ffmpeg()


@pytest.fixture(scope="session")
def peer_plugin() -> Path:
    """The folder of vs-mlrt's OpenVINO plugin, in the benchmark's environment of it. Every core loads what is in the folder that
    ``VAPOURSYNTH_EXTRA_PLUGIN_PATH`` names.
    """
    assert peer.set_up() is None
    return next(peer.PEER.glob("**/vapoursynth/plugins/ov"))


def smooth_picture(side: int, seed: int) -> np.ndarray:
    """Blurred noise: something that can be upscaled at all."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A tar of six tiny tiles."""
    path = tmp_path / "train-00.tar"
    with tarfile.open(path, "w") as tar:
        for seed in range(6):
            data = io.BytesIO()
            Image.fromarray(smooth_picture(64, seed)).save(data, "webp", lossless=True)
            member = tarfile.TarInfo(f"tile_{seed}.webp")
            member.size = data.tell()
            data.seek(0)
            tar.addfile(member, data)
    return path
