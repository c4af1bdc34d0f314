"""The weights that ship: their range, and what half precision makes of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import CLIPS, shared
from plain import make_spec, module_of, sums
from torch import Tensor, nn

from vs_paragonsr2 import load_network, shipped_models
from vs_paragonsr2.backends.switch import test_picture as waves
from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.evaluation.crops import detailed_place
from vs_paragonsr2.evaluation.metrics import Picture, psnr_luma
from vs_paragonsr2.evaluation.pairs import read_pairs
from vs_paragonsr2.evaluation.upscalers import HalfPrecision, upscale_picture
from vs_paragonsr2.evaluation.video import read_scene, to_rgb
from vs_paragonsr2.training.drawings import pixel_mask
from vs_paragonsr2.training.shards import reduce_bicubic
from vs_paragonsr2.training.span import harsh_picture
from vs_paragonsr2.training.trainer import mean_psnr

AROUND = 32
"""Pixels about a picture, more than any output sees."""

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
    """All that goes into and comes out of a layer is four times smaller, for a harsh picture and a real one."""
    network = load_network(shipped_models()[key])
    harsh = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (48, 48, 3))
    samples = [picture.astype(np.float32) / 255 for picture in (harsh, reduce_bicubic(original, key[1]))]
    pictures = [torch.from_numpy(rgb).permute(2, 0, 1)[None] for rgb in samples]
    assert 1 < max(largest_value(network, picture) for picture in pictures) < LARGEST_HALF / 4


@MODELS
def test_the_harshest_of_pictures_are_the_same_in_half_precision(key: tuple[str, int]) -> None:
    """All that goes into and comes out of a layer is half as large, even for the harshest of pictures; and half precision's
    picture of those is float32's."""
    path = shipped_models()[key]
    network, half = load_network(path), HalfPrecision(load_network(path))
    harsh = [surrounded(harsh_picture(np.random.default_rng(seed), side=64, beyond=0)) for seed in range(24)]
    assert 1 < max(largest_value(network, picture) for picture in harsh) < LARGEST_HALF / 2
    with torch.inference_mode():
        for picture in harsh[:6]:
            single, rounded = (net(picture).clamp(0, 1) for net in (network, half))
            assert (single - rounded).square().mean().sqrt() < 2 / 255


@MODELS
@pytest.mark.parametrize("contrast", [255, 128])
def test_patterns_of_single_pixels_stay_what_they_are(key: tuple[str, int], contrast: int) -> None:
    """Chequers, lines and dots of a pixel, static and dithering: no photograph has such, but screens, games and old prints do."""
    network, scale = load_network(shipped_models()[key]), key[1]
    y, x = np.mgrid[:64, :64]
    rng = np.random.default_rng(0)
    masks = [(x + y) % 2, y % 2, x % 2, x % 2 * (y % 2), *(pixel_mask(64, rng) for _ in range(12))]
    for mask in masks:
        low = torch.from_numpy((mask.astype(np.float32) - 0.5) * (contrast / 255) + 0.5).expand(1, 3, 64, 64)
        with torch.inference_mode():
            high = network(surrounded(low))[..., AROUND * scale : -AROUND * scale, AROUND * scale : -AROUND * scale]
        assert -3 < float(high.min()) < float(high.max()) < 4
        again = F.avg_pool2d(high.clamp(0, 1), scale)
        assert (again - low).square().mean().sqrt() < 56 / 255


@MODELS
@pytest.mark.parametrize("kind", ["waves", "noise"])
def test_samples_that_are_no_colour_leave_the_picture_whole(key: tuple[str, int], kind: str) -> None:
    """Codecs and filters leave Y, U and V that are far beyond any RGB; what comes out stays near what samples can be."""
    spec = make_spec(key[1], (64, 80))
    rng = np.random.default_rng(0)
    planes = waves(spec) if kind == "waves" else [rng.integers(0, 256, shape) for shape in spec.source.shapes]
    module = module_of(load_network(shipped_models()[key]), spec)
    with torch.inference_mode():
        found = sums(module, [torch.from_numpy(plane.astype(np.float32))[None, None] for plane in planes])
    beyond = 64 if kind == "waves" else 1024  # noise has overshoot at every sample
    assert all(-beyond < float(samples.min()) < float(samples.max()) < 255 + beyond for samples in found)


@pytest.mark.parametrize(
    ("key", "set5", "set14"),
    [(("realtime", 2), 36.7, 32.4), (("realtime", 4), 30.4, 27.5), (("stream", 2), 37.1, 32.8), (("stream", 4), 31.0, 27.9)],
)
def test_models_are_as_good_as_they_are_meant_to_be(key: tuple[str, int], set5: float, set14: float) -> None:
    """Luma PSNR in dB. Needs shared/data/test."""
    network = load_network(shipped_models()[key])
    for name, least in (("Set5", set5), ("Set14", set14)):
        assert mean_psnr(network, read_pairs(shared(f"data/test/{name}/x{key[1]}"), key[1]), key[1]) >= least


def surrounded(picture: Tensor) -> Tensor:
    """With its border repeated, as the filter gives it."""
    return F.pad(picture, (AROUND,) * 4, mode="replicate")


def largest_value(network: Network, picture: Tensor) -> float:
    """The largest absolute value that any layer reads or writes for a picture (1, 3, H, W), 0..1."""
    seen = [0.0]

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.extend(float(tensor.abs().max()) for tensor in (*inputs, output))

    handles = [module.register_forward_hook(look) for module in network.modules()]
    with torch.inference_mode():
        network(picture)
    for handle in handles:
        handle.remove()
    return max(seen)
