"""The weights that ship: their range, and what half precision makes of it."""

import numpy as np
import pytest
import torch
from conftest import CLIPS
from plain import make_spec
from torch import Tensor, nn

from vs_paragonsr2 import load_network, shipped_models
from vs_paragonsr2.backends.switch import test_picture as waves
from vs_paragonsr2.evaluation.crops import detailed_place
from vs_paragonsr2.evaluation.upscalers import HalfPrecision, upscale_picture
from vs_paragonsr2.evaluation.video import read_scene, to_rgb
from vs_paragonsr2.graph import PlanesCore
from vs_paragonsr2.metrics import Picture, psnr_luma
from vs_paragonsr2.network import Network
from vs_paragonsr2.training.shards import reduce_bicubic

LARGEST_HALF = torch.finfo(torch.float16).max

MODELS = pytest.mark.parametrize("key", shipped_models(), ids=lambda key: f"{key[0]}-{key[1]}x")


@pytest.fixture(scope="module", params=["flower_960x540.mp4", "city_720x405.mpg"])
def original(request: pytest.FixtureRequest) -> Picture:
    """The most detailed part of a committed clip's first frame."""
    scene = read_scene(CLIPS / request.param, 2, 1)
    picture = to_rgb(next(scene.high()), scene.colour)
    return picture[detailed_place(picture, 160, 160)]


@MODELS
def test_half_precision_gives_the_same_picture(key: tuple[str, int], original: Picture) -> None:
    """Against the original, to within 0.02 dB; and it is indeed half precision that was measured."""
    path, scale = shipped_models()[key], key[1]
    low = reduce_bicubic(original, scale)
    networks = load_network(path), HalfPrecision(load_network(path))
    single, half = (psnr_luma(upscale_picture(network, low, torch.device("cpu")), original, scale) for network in networks)
    assert all(parameter.dtype == torch.float16 for parameter in networks[1].network.parameters())
    assert abs(single - half) <= 0.02


@MODELS
def test_no_value_comes_near_the_end_of_half_precision(key: tuple[str, int], original: Picture) -> None:
    """All that goes into and comes out of a layer is four times smaller, even for the harshest picture."""
    network = load_network(shipped_models()[key])
    harsh = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (48, 48, 3))
    largest = max(largest_value(network, picture) for picture in (harsh, reduce_bicubic(original, key[1])))
    assert 1 < largest < LARGEST_HALF / 4


@MODELS
@pytest.mark.parametrize("kind", ["waves", "noise"])
def test_samples_that_are_no_colour_leave_the_picture_whole(key: tuple[str, int], kind: str) -> None:
    """Codecs and filters leave Y, U and V that are far beyond any RGB; what comes out stays near what samples can be."""
    spec = make_spec(key[1], (64, 80))
    rng = np.random.default_rng(0)
    planes = waves(spec) if kind == "waves" else [rng.integers(0, 256, shape) for shape in spec.source.shapes]
    core = PlanesCore(load_network(shipped_models()[key]), spec, dtype=torch.float32)
    with torch.inference_mode():
        sums = core.sums(*(torch.from_numpy(plane.astype(np.float32))[None, None] for plane in planes))
    beyond = 64 if kind == "waves" else 1024  # noise has overshoot at every sample
    assert all(-beyond < float(samples.min()) < float(samples.max()) < 255 + beyond for samples in sums)


def largest_value(network: Network, picture: Picture) -> float:
    """The largest absolute value that any layer reads or writes for an 8-bit picture (H, W, 3)."""
    seen = [0.0]

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.extend(float(tensor.abs().max()) for tensor in (*inputs, output))

    handles = [module.register_forward_hook(look) for module in network.modules()]
    with torch.inference_mode():
        network(torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None] / 255)
    for handle in handles:
        handle.remove()
    return max(seen)
