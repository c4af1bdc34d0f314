"""How a training run starts: from fresh weights, or from a trained network's."""

from pathlib import Path

import pytest
import torch
from conftest import golden
from tiny import CPU, config_file, first_pictures

from vs_paragonsr2 import ParagonSR2Error, load_network
from vs_paragonsr2.network import VARIANTS, ParagonSR2
from vs_paragonsr2.training.config import load_config
from vs_paragonsr2.training.start import leave_linear_regime, start_from
from vs_paragonsr2.training.trainer import Trainer


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_start_gives_each_nonlinearity_its_range(variant: str, shard: Path) -> None:
    """The factors of Stream's products get a standard deviation of 1, all others what is asked for."""
    wanted = 1.0 if variant == "stream" else 2.0
    torch.manual_seed(0)
    network = ParagonSR2(variant, upsampler_alpha=0.0)
    low = first_pictures(shard, 2 if variant == "pro" else 8)
    leave_linear_regime(network, low, pre_activation_std=2.0, residual_std=0.3, detail_gain=1.5)
    features = network.conv_in(low)
    for block in network.blocks():
        std, mean = torch.std_mean(block.pre_activations(features), (0, 2, 3))
        torch.testing.assert_close(std, torch.full_like(std, wanted), rtol=0, atol=1e-2)
        assert mean.abs().max() < 1e-2
        features = block(features)
    assert network.detail_gain == 1.5
    assert torch.isfinite(network(low)).all()


def test_weights_of_another_scale_start_a_model(tmp_path: Path, shard: Path) -> None:
    """What leaves the pixel shuffle at 4x is what leaves it at 2x, enlarged by nearest neighbour; all else is the same."""
    config = load_config(config_file(tmp_path, shard, 1))
    config.scale, config.path.pretrain_network_g = 4, golden("realtime_x2")
    config.datasets.train.lq_size = 8
    network, source = Trainer(config, tmp_path / "run", CPU).network, load_network(golden("realtime_x2"))
    assert network.scale == 4
    assert network.detail_gain == source.detail_gain
    features = torch.rand(1, 16, 7, 5)
    small = source.up(source.conv_mid(source.body(features)))
    large = network.up(network.conv_mid(network.body(features)))
    assert torch.allclose(large, small.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(2, 2), (2, 3), (2, 8), (4, 2)])
def test_each_phase_takes_the_filters_of_the_one_it_lies_in(old: int, new: int) -> None:
    source, network = ParagonSR2("stream", old), ParagonSR2("stream", new)
    start_from(network, source)
    bias = torch.nn.PixelShuffle(old)(source.up[0].bias.view(1, -1, 1, 1))
    enlarged = torch.nn.functional.interpolate(bias, size=(new, new), mode="nearest")
    assert torch.equal(torch.nn.PixelShuffle(new)(network.up[0].bias.view(1, -1, 1, 1)), enlarged)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("stream_x2", "pretrain_network_g is .*its variant is stream: expected realtime"),
        ("v10_realtime_x2", "its version is 10: expected 11"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, shard: Path, name: str, match: str) -> None:
    config = load_config(config_file(tmp_path, shard, 1))
    config.path.pretrain_network_g = golden(name)
    with pytest.raises(ParagonSR2Error, match=match):
        Trainer(config, tmp_path / "run", CPU)
