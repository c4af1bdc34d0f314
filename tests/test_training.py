"""Training: configuration, data, the start, resuming, and the measurement that all figures rest on."""

import io
import json
import math
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import average
import numpy as np
import pytest
import torch
import yaml
from bootstrap import ROOT
from conftest import golden
from PIL import Image

from vs_paragonsr2 import ParagonSR2Error, load_network, shipped_models
from vs_paragonsr2.network import ParagonSR2, Variant
from vs_paragonsr2.training.config import TrainDataset, load_config
from vs_paragonsr2.training.data import Ahead, PatchSampler, read_pairs, stretched
from vs_paragonsr2.training.drawings import drawing, pixel_mask
from vs_paragonsr2.training.losses import LOSSES
from vs_paragonsr2.training.shards import Tiles, find_shards, reduce_bicubic
from vs_paragonsr2.training.start import leave_linear_regime, start_from
from vs_paragonsr2.training.trainer import Trainer, save_checkpoint

CPU = torch.device("cpu")


def smooth_picture(side: int, seed: int) -> np.ndarray:
    """Blurred noise: something that can be upscaled at all."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
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


def config_file(tmp_path: Path, shard: Path, total_iter: int, **train: object) -> Path:
    tree = {
        "name": "tiny",
        "scale": 2,
        "network_g": {"type": "paragonsr2_realtime", "upsampler_alpha": 0.0},
        "datasets": {"train": {"dataroot_gt": str(shard), "lq_size": 16, "batch_size_per_gpu": 4}},
        "train": {"total_iter": total_iter, **train},
        "logger": {"print_freq": 5, "save_checkpoint_seconds": 0},
    }
    path = tmp_path / "tiny.yml"
    path.write_text(yaml.safe_dump(tree))
    return path


def sampler(shard: Path, seed: int = 0, **changes: object) -> PatchSampler:
    options = TrainDataset(dataroot_gt=[shard], lq_size=16, batch_size_per_gpu=8)
    return PatchSampler(replace(options, **changes), 2, seed)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 50, 110), (1.0, 160, 160)])
def test_the_share_of_drawn_patches(shard: Path, share: float, least: int, most: int) -> None:
    """Photographs of the shard are noise; drawings have far fewer colours."""
    patches = [high for step in range(20) for high in sampler(shard, drawn_prob=share).sample(step).high]
    drawn = sum(len(torch.unique(patch.flatten(1), dim=1).T) < 600 for patch in patches)
    assert least <= drawn <= most


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 50, 110), (1.0, 160, 160)])
def test_the_share_of_patterns(shard: Path, share: float, least: int, most: int) -> None:
    """Each channel has two values, far from each other, and a square for each pixel."""
    batches = [sampler(shard, pattern_prob=share).sample(step) for step in range(20)]
    found = 0
    for low, high in (pair for batch in batches for pair in zip(*batch, strict=True)):
        values = [channel.unique().tolist() for channel in low]
        if max(map(len, values)) <= 2:
            found += 1
            assert torch.equal(high, low.repeat_interleave(2, 1).repeat_interleave(2, 2))
            assert all(pair[1] - pair[0] >= 96 for pair in values if len(pair) == 2)
    assert least <= found <= most


@pytest.mark.parametrize("side", [8, 17, 48])
def test_masks_of_pixels_are_the_generators_alone_and_hold_the_finest(side: int) -> None:
    masks = [pixel_mask(side, np.random.default_rng(seed)) for seed in range(800)]
    for seed, mask in enumerate(masks[:50]):
        assert mask.shape == (side, side) and mask.dtype == bool
        np.testing.assert_array_equal(mask, pixel_mask(side, np.random.default_rng(seed)))
    rows = np.broadcast_to(np.arange(side)[:, None] % 2 == 0, (side, side))
    chequers = rows ^ rows.T
    for finest in (rows, rows.T, chequers):
        assert any(np.array_equal(mask, finest) or np.array_equal(mask, ~finest) for mask in masks)


@pytest.mark.parametrize("side", [8, 17, 31])
def test_drawings_of_every_size(side: int) -> None:
    assert {drawing(side, np.random.default_rng(seed)).shape for seed in range(40)} == {(side, side, 3)}


def test_drawings_are_the_generators_alone_and_of_full_contrast() -> None:
    pictures = [drawing(96, np.random.default_rng(seed)) for seed in range(40)]
    for seed, picture in enumerate(pictures):
        assert picture.shape == (96, 96, 3)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, drawing(96, np.random.default_rng(seed)))
    assert np.mean([np.ptp(picture) > 200 for picture in pictures]) > 0.7
    # Both edges of half tones and jagged ones.
    assert len({len(np.unique(picture)) for picture in pictures}) > 20


def test_stretched_patches_are_the_same_picture_in_other_colours(shard: Path) -> None:
    low, high = (patches.float() / 255 for patches in sampler(shard, batch_size_per_gpu=64).sample(0))
    again, other = (stretched(low, high, 0.5, np.random.default_rng(seed)) for seed in (0, 1))
    found = stretched(low, high, 0.5, np.random.default_rng(0))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    assert not torch.equal(found[0], other[0])
    changed = (found[0] != low).flatten(1).any(1)
    assert 16 < int(changed.sum()) < 48
    assert torch.equal((found[1] != high).flatten(1).any(1), changed)
    # Each channel by one gain and shift, the same at both resolutions.
    for before, after, large, larger in zip(low[changed], found[0][changed], high[changed], found[1][changed], strict=True):
        for channel in range(3):
            gain = (after[channel].std() / before[channel].std()).item()
            assert 0.5 <= gain <= 2.5
            shift = (after[channel] - gain * before[channel]).mean()
            torch.testing.assert_close(larger[channel], gain * large[channel] + shift, atol=1e-4, rtol=0)
    assert found[0].min() < -0.3
    assert found[0].max() > 1.3


def first_pictures(shard: Path, batch: int = 8) -> torch.Tensor:
    return sampler(shard, batch_size_per_gpu=batch).sample(0).low.float() / 255


@pytest.mark.parametrize(("ours", "optimiser"), [(False, "AdamW"), (True, "AdamW"), (True, "SOAP")])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, shard: Path, ours: bool, optimiser: str) -> None:
    """With what is ours in a configuration, all of which draws by chance, and without."""
    span = {"span": {"limit": 1, "share": 0.1, "every": 2}} if ours else {}
    path = config_file(tmp_path, shard, 20, optim_g={"type": optimiser}, **span)
    tree = yaml.safe_load(path.read_text())
    tree["datasets"]["train"] |= {"drawn_prob": 0.3, "pattern_prob": 0.3, "stretch_prob": 0.3} if ours else {}
    path.write_text(yaml.safe_dump(tree))
    config = load_config(path)
    whole = Trainer(config, tmp_path / "whole", CPU)
    whole.run(lambda progress: None)

    class Interrupted(Exception):
        pass

    def interrupt(progress: object) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        Trainer(config, tmp_path / "parts", CPU).run(interrupt)  # in step 5; steps 1 to 4 are saved
    resumed = Trainer(config, tmp_path / "parts", CPU)
    assert resumed.step == 4
    resumed.run(lambda progress: None)
    for run in ("whole", "parts"):
        log = (tmp_path / run / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in log] == [5, 10, 15, 20]
    for a, b in ((whole.network, resumed.network), (whole.average, resumed.average)):
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name
    assert load_network(tmp_path / "parts/tiny.safetensors").alpha == 0.0


def test_the_log_has_the_norm_that_the_gradient_had_before_it_was_clipped(tmp_path: Path, shard: Path) -> None:
    norms = {}
    for clip in (0, 1e-6):
        config = load_config(config_file(tmp_path, shard, 1, grad_clip=clip))
        Trainer(config, tmp_path / str(clip), CPU).run(lambda progress: None)
        norms[clip] = json.loads((tmp_path / str(clip) / "log.jsonl").read_text())["norm"]
    assert norms[0] == norms[1e-6] > 1e-3


def test_a_state_without_the_newer_keys_goes_on(tmp_path: Path, shard: Path) -> None:
    """As one that was written before there were any."""
    config = load_config(config_file(tmp_path, shard, 2))
    Trainer(config, tmp_path / "run", CPU).run(lambda progress: None)
    path = tmp_path / "run/state.pt"
    state = torch.load(path, weights_only=True)
    for key in ("drawn_prob", "pattern_prob", "stretch_prob"):
        del state["config"]["datasets.train"][key]
    torch.save(state, path)
    assert Trainer(config, tmp_path / "run", CPU).step == 2
    changed = replace(config, datasets=replace(config.datasets, train=replace(config.datasets.train, drawn_prob=0.5)))
    with pytest.raises(ParagonSR2Error, match="datasets.train is .*use another folder"):
        Trainer(changed, tmp_path / "run", CPU)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_zero_for_equal_pictures_alone(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 96, 96, generator=generator)
    assert LOSSES[name](target, target) == pytest.approx(0, abs=1e-6)
    near, far = (target + scale * torch.randn(target.shape, generator=generator) for scale in (0.01, 0.1))
    assert 0 < LOSSES[name](near, target) < LOSSES[name](far, target)
    opposite = (1 - target).requires_grad_()
    LOSSES[name](opposite, target).backward()
    assert opposite.grad is not None
    assert torch.isfinite(opposite.grad).all()
    assert opposite.grad.abs().max() > 0


@pytest.mark.parametrize("side", [11, 22, 44, 96, 192])
def test_ms_ssim_takes_patches_of_every_size(side: int) -> None:
    pictures = torch.rand(2, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
    assert 0 < LOSSES["MSSSIMLoss"](pictures[0], pictures[1]) < 1


def test_squares_and_what_is_linear_beyond() -> None:
    target = torch.zeros(1, 3, 8, 8)
    assert LOSSES["MSELoss"](target + 2, target) == pytest.approx(4)
    assert LOSSES["HuberLoss"](target + 0.06, target) == pytest.approx(0.06**2 / 2)
    assert LOSSES["HuberLoss"](target + 2, target) == pytest.approx(0.1 * (2 - 0.05))


def test_pictures_count_by_their_psnr() -> None:
    """30 dB of one and 20 dB of the other: log(1 + 1) and log(1 + 10)."""
    target = torch.zeros(2, 3, 8, 8)
    off = torch.tensor([1e-3, 1e-2]).sqrt()[:, None, None, None]
    assert LOSSES["PSNRLoss"](target + off, target) == pytest.approx((math.log(2) + math.log(11)) / 2)
    assert LOSSES["LumaPSNRLoss"](target + off, target) == pytest.approx((math.log(2) + math.log(11)) / 2)


def test_colour_counts_a_fifth_of_its_squares() -> None:
    target = torch.zeros(1, 3, 8, 8)
    out = target.clone()
    out[:, 0], out[:, 1] = 0.587, -0.299  # of no luma
    squares = (0.587**2 + 0.299**2) / 3
    assert LOSSES["LumaPSNRLoss"](out, target) == pytest.approx(math.log(1 + 0.2 * squares / 1e-3))
    assert LOSSES["PSNRLoss"](out, target) == pytest.approx(math.log(1 + squares / 1e-3))


def test_the_fourier_loss_is_the_mean_over_the_spectrum() -> None:
    """A difference of one everywhere is the zero frequency alone: sqrt(96 * 96) of it, spread over 96 x 49 complex values."""
    target = torch.zeros(1, 3, 96, 96)
    assert LOSSES["FFTLoss"](target + 1, target) == pytest.approx(96 / (96 * 49 * 2))


def test_a_run_takes_the_losses_of_its_configuration(tmp_path: Path, shard: Path) -> None:
    losses = [{"type": "L1Loss", "loss_weight": 2.0}, {"type": "FFTLoss", "loss_weight": 0.5}, {"type": "MSSSIMLoss"}]
    config = load_config(config_file(tmp_path, shard, 5, losses=losses))
    run = Trainer(config, tmp_path / "run", CPU)
    low, high = (x.float() / 255 for x in run.sampler.sample(0))
    out, target = (picture[..., 2:-2, 2:-2] for picture in (run.network(low), high))  # but for the network's zeros about it
    expected = 2 * LOSSES["L1Loss"](out, target) + LOSSES["FFTLoss"](out, target) / 2 + LOSSES["MSSSIMLoss"](out, target)
    loss, _ = run._train_step(low, high)
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_training_lowers_the_loss(tmp_path: Path, shard: Path) -> None:
    config = load_config(config_file(tmp_path, shard, 60))
    losses: list[float] = []
    Trainer(config, tmp_path / "run", CPU).run(lambda progress: losses.append(progress.loss))
    assert losses[-1] < 0.5 * losses[0]
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(5, 65, 5))


def test_the_start_gives_each_nonlinearity_its_range(shard: Path) -> None:
    torch.manual_seed(0)
    network = ParagonSR2("realtime", upsampler_alpha=0.0)
    low = first_pictures(shard)
    leave_linear_regime(network, low, pre_activation_std=2.0, residual_std=0.3, detail_gain=1.0)
    features = network.conv_in(low)
    for block in network.blocks():
        values = block.dw(block.conv1(features))
        std, mean = torch.std_mean(values, (0, 2, 3))
        assert torch.allclose(std, torch.tensor(2.0), atol=1e-2)
        assert mean.abs().max() < 1e-2
        features = block(features)
    assert network.detail_gain == 1.0


@pytest.mark.parametrize("variant", ["stream", "photo", "pro"])
def test_the_start_works_on_every_variant(variant: str, shard: Path) -> None:
    network = ParagonSR2(variant)
    low = first_pictures(shard, 2)
    leave_linear_regime(network, low, pre_activation_std=2.0, residual_std=0.3, detail_gain=1.0)
    assert torch.isfinite(network(low)).all()


def test_patches_are_aligned(shard: Path) -> None:
    """The low-resolution patch is what its high-resolution one reduces to, whatever the turns and flips."""
    low, high = sampler(shard).sample(0)
    assert low.shape == (8, 3, 16, 16)
    assert high.shape == (8, 3, 32, 32)
    for a, b in zip(low, high, strict=True):
        reduced = reduce_bicubic(b.permute(1, 2, 0).contiguous().numpy(), 2)[2:-2, 2:-2].astype(int)
        assert np.abs(reduced - a.permute(1, 2, 0).numpy()[2:-2, 2:-2]).max() <= 2


def test_a_batch_depends_on_seed_and_step_alone(shard: Path) -> None:
    first, second, other = sampler(shard), sampler(shard), sampler(shard, seed=1)
    expected = [first.sample(step) for step in (0, 1, 7)]
    assert not torch.equal(expected[0].low, expected[1].low)
    for step, batch in ((7, expected[2]), (0, expected[0]), (1, expected[1])):
        assert all(torch.equal(a, b) for a, b in zip(second.sample(step), batch, strict=True))
        assert not torch.equal(other.sample(step).low, batch.low)


def test_batches_come_ahead_of_time_in_their_order(shard: Path) -> None:
    made: list[int] = []

    def make(step: int) -> int:
        made.append(step)
        return step * step

    ahead = Ahead(make)
    assert [ahead[step] for step in (5, 6, 7, 3)] == [25, 36, 49, 9]
    ahead.close()
    assert made[:3] == [5, 6, 7]

    def fail(step: int) -> int:
        raise ParagonSR2Error("damaged")

    with pytest.raises(ParagonSR2Error, match="damaged"):
        Ahead(fail)[0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"colour": 1}, "the file has the unknown key 'colour'"),
        ({"name": None}, "name is None: expected str"),
        ({"scale": "2"}, "scale is '2': expected int"),
        ({"train": {}}, "train lacks the key 'total_iter'"),
        ({"train": {"total_iter": 5, "optim_g": {"type": "Lion"}}}, "train.optim_g.type is 'Lion': expected AdamW or Adam or SOAP"),
        (
            {"train": {"total_iter": 5, "losses": [{"type": "GANLoss"}]}},
            r"losses\[0\].type is 'GANLoss': expected L1Loss",
        ),
        ({"train": {"total_iter": 5, "grad_clip": "some"}}, "train.grad_clip is 'some': expected float"),
        ({"logger": {"print_freq": 0}}, "logger.print_freq is 0: expected 1 or more"),
        ({"train": {"total_iter": 5, "losses": []}}, "train.losses is empty"),
        ({"train": {"total_iter": 5, "optim_g": {"betas": [0.9]}}}, r"betas is \[0.9\]"),
        ({"train": {"total_iter": 5, "optim_g": {"lr": -1}}}, "train.optim_g.lr is -1.0: expected 0 or more"),
        ({"network_g": {"type": "paragonsr2_realtime", "scale": 4}}, "network_g.scale is 4: expected the file's scale, 2"),
        ({"train": 7}, "train is 7: expected keys and values"),
        ({"datasets": {"train": {"dataroot_gt": ".", "drawn_prob": 2}}}, "train.drawn_prob is 2.0: expected 0 to 1"),
        ({"datasets": {"train": {"dataroot_gt": ".", "lq_size": 4}}}, "train.lq_size is 4: expected 8 or more"),
        ({"datasets": {"train": {"dataroot_gt": ".", "pattern_prob": -0.1}}}, "train.pattern_prob is -0.1: expected 0 to 1"),
        ({"train": {"total_iter": 5, "start": {"pre_activation_std": 0}}}, "pre_activation_std is 0.0: expected a number above 0"),
        ({"datasets": {"train": {"dataroot_gt": ".", "stretch_prob": -1}}}, "train.stretch_prob is -1.0: expected 0 to 1"),
    ],
)
def test_faults_in_a_configuration_are_named(tmp_path: Path, shard: Path, change: dict[str, object], match: str) -> None:
    path = config_file(tmp_path, shard, 5)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(ParagonSR2Error, match=match):
        load_config(path)


@pytest.mark.parametrize("kind", ["realtime", "paragonsr2_nano"])
def test_an_unknown_network_is_named(tmp_path: Path, shard: Path, kind: str) -> None:
    config = load_config(config_file(tmp_path, shard, 5))
    config.network_g.type = kind
    with pytest.raises(ParagonSR2Error, match="network_g"):
        config.network_g.build(2)


def test_the_shipped_configurations_can_be_read() -> None:
    paths = sorted((ROOT / "models").glob("*.yml"))
    assert {path.stem for path in paths} >= {path.stem for path in shipped_models().values()}
    for path in paths:
        config = load_config(path)
        assert config.name == path.stem
        assert config.network_g.build(config.scale).scale == config.scale


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


def test_another_run_is_not_resumed(tmp_path: Path, shard: Path) -> None:
    config = load_config(config_file(tmp_path, shard, 2))
    Trainer(config, tmp_path / "run", CPU).run(lambda progress: None)
    other = load_config(config_file(tmp_path, shard, 3))
    with pytest.raises(ParagonSR2Error, match="train is .*the run in .* has .*use another folder"):
        Trainer(other, tmp_path / "run", CPU)
    (tmp_path / "run/state.pt").write_bytes(b"half")
    with pytest.raises(ParagonSR2Error, match="no state of a run"):
        Trainer(config, tmp_path / "run", CPU)


def test_tiles_are_the_same_however_few_stay_in_memory(shard: Path) -> None:
    whole, none = (Tiles([shard], scale=2, side=32, memory_bytes=n) for n in (2**20, 0))
    assert len(whole) == len(none) == 6
    for _ in range(2):
        for i in range(6):
            assert np.array_equal(whole[i].high, smooth_picture(64, i))
            assert all(np.array_equal(a, b) for a, b in zip(whole[i], none[i], strict=True))
    assert whole[3] is whole[3]
    assert none[3] is not none[3]


def test_the_memory_of_tiles_is_bounded(shard: Path) -> None:
    """A tile is 64 * 64 * 3 bytes and a quarter; two fit."""
    tiles = Tiles([shard], scale=2, side=32, memory_bytes=2 * 15360)
    first, second = tiles[0], tiles[1]
    assert tiles[0] is first
    tiles[2]
    assert tiles[0] is first
    assert tiles[1] is not second


def test_small_and_damaged_pictures(tmp_path: Path, shard: Path) -> None:
    with pytest.raises(ParagonSR2Error, match="no picture in 1 shards is as large as 66"):
        Tiles([shard], scale=2, side=66, memory_bytes=0)
    data = bytearray(shard.read_bytes())
    with tarfile.open(shard) as tar:
        place = tar.getmembers()[1]
    data[place.offset_data + 20 : place.offset_data + place.size] = bytes(place.size - 20)
    shard.write_bytes(data)
    with pytest.raises(ParagonSR2Error, match="train-00.tar: tile_1.webp is damaged"):
        list(Tiles([shard], scale=2, side=32, memory_bytes=0))
    shard.write_bytes(data[:700])
    with pytest.raises(ParagonSR2Error, match="train-00.tar: "):
        Tiles([shard], scale=2, side=32, memory_bytes=0)
    with pytest.raises(ParagonSR2Error, match="no .tar shard is at .*nowhere"):
        find_shards([tmp_path / "nowhere"])


def test_no_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParagonSR2Error, match="no .tar shard is at .*none"):
        Trainer(load_config(config_file(tmp_path, tmp_path / "none", 1)), tmp_path / "run", CPU)


def train_command(tmp_path: Path, shard: Path, total_iter: int) -> list[str]:
    command = [sys.executable, ROOT / "scripts/train.py", config_file(tmp_path, shard, total_iter), "--out", tmp_path / "run"]
    return [*map(str, command), "--device", "cpu"]


def test_train_command(tmp_path: Path, shard: Path) -> None:
    subprocess.run(train_command(tmp_path, shard, 6), check=True, capture_output=True)
    assert load_network(tmp_path / "run/tiny.safetensors").variant == "realtime"
    with Image.open(tmp_path / "run/plot.png") as plot:
        assert len(plot.convert("RGB").getcolors(2**20) or []) > 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_all_of_it_saved(tmp_path: Path, shard: Path, number: signal.Signals) -> None:
    command = train_command(tmp_path, shard, 1_000_000)
    path = tmp_path / "tiny.yml"
    tree = yaml.safe_load(path.read_text())
    # Nothing else saves.
    tree["logger"]["save_checkpoint_seconds"] = 3600
    path.write_text(yaml.safe_dump(tree))
    log = tmp_path / "run/log.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped and saved" in errors
    last = json.loads(log.read_text().splitlines()[-1])["step"]
    resumed = Trainer(load_config(path), tmp_path / "run", CPU)
    assert last <= resumed.step < last + 5


def test_a_test_set_without_pairs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParagonSR2Error, match="no NAME_lr.png beside a NAME_hr.png"):
        read_pairs(tmp_path, 2)
    Image.new("RGB", (20, 16)).save(tmp_path / "a_lr.png")
    with pytest.raises(ParagonSR2Error, match="a_lr.png, a_hr.png: no two pictures"):
        read_pairs(tmp_path, 2)
    Image.new("RGB", (40, 32)).save(tmp_path / "a_hr.png")
    with pytest.raises(ParagonSR2Error, match="scale is 4: the pictures of .*a have 20x16 and 40x32"):
        read_pairs(tmp_path, 4)
    assert [pair.name for pair in read_pairs(tmp_path, 2)] == ["a"]


def test_of_several_places_each_has_shards(tmp_path: Path, shard: Path) -> None:
    assert find_shards([shard, tmp_path]) == [shard, shard]
    missing = tmp_path / "missing"
    with pytest.raises(ParagonSR2Error, match=f"no .tar shard is at {missing}"):
        find_shards([shard, missing])


def test_a_run_whose_weights_are_lost_keeps_what_was_saved(tmp_path: Path, shard: Path) -> None:
    config = load_config(config_file(tmp_path, shard, 6))
    run = Trainer(config, tmp_path / "run", CPU)
    run.stop()
    run.run(lambda progress: None)
    saved = (tmp_path / "run/state.pt").read_bytes()
    with torch.no_grad():
        run.network.conv_in.weight[0, 0, 0, 0] = torch.nan
    run.stop()
    with pytest.raises(ParagonSR2Error, match="the weights are not finite at step 2: lower train.optim_g.lr"):
        run.run(lambda progress: None)
    assert (tmp_path / "run/state.pt").read_bytes() == saved
    with (tmp_path / "run/log.jsonl").open("a") as log:
        log.write('{"step": 2, "lo')  # as a run that was killed leaves it
    again = Trainer(config, tmp_path / "run", CPU)
    again.run(lambda progress: None)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert again.step == 6 and steps[-1] == 6


def test_the_average_of_checkpoints_lies_between_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new/mean.safetensors"
    first, second = (checkpoint(tmp_path, "stream", 2, seed) for seed in (0, 1))
    monkeypatch.setattr(sys, "argv", ["average.py", str(first), str(second), "--shares", "0.75", "0.25", "--out", str(out)])
    average.main()
    a, b, mean = (load_network(path).conv_in.weight for path in (first, second, out))
    torch.testing.assert_close(mean, 0.75 * a + 0.25 * b)


def checkpoint(folder: Path, variant: Variant, scale: int, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    path = folder / f"{variant}_{scale}_{seed}.safetensors"
    save_checkpoint(ParagonSR2(variant, scale), path)
    return path


def test_averages_of_unlike_networks_and_wrong_shares_are_named(tmp_path: Path) -> None:
    stream, larger, realtime = (checkpoint(tmp_path, *kind) for kind in (("stream", 2), ("stream", 4), ("realtime", 2)))
    for other, what in ((larger, "stream 4x"), (realtime, "realtime 2x")):
        with pytest.raises(ParagonSR2Error, match=f"{other.name} is {what} .*: expected stream 2x"):
            average.mean_of([stream, other], None)
    for shares in ([1.0], [0.5, 0.6]):
        with pytest.raises(ParagonSR2Error, match="--shares is .*expected 2 numbers"):
            average.mean_of([stream, stream], shares)
    legacy = golden("v8_realtime_x2")
    with pytest.raises(ParagonSR2Error, match="is of version 8: expected 9 to 11"):
        average.mean_of([legacy], None)
