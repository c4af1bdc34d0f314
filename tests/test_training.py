"""Training: configuration, the start, resuming, and what becomes of weights."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import average
import pytest
import torch
import yaml
from bootstrap import ROOT
from conftest import golden
from PIL import Image
from tiny import CPU, config_file, first_pictures

from vs_paragonsr2 import ParagonSR2Error, load_network, shipped_models
from vs_paragonsr2.network import ParagonSR2, Variant
from vs_paragonsr2.training.config import load_config
from vs_paragonsr2.training.losses import LOSSES
from vs_paragonsr2.training.start import leave_linear_regime, start_from
from vs_paragonsr2.training.trainer import Trainer, save_checkpoint


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


def test_a_run_takes_the_losses_of_its_configuration(tmp_path: Path, shard: Path) -> None:
    losses = [{"type": "L1Loss", "loss_weight": 2.0}, {"type": "FFTLoss", "loss_weight": 0.5}, {"type": "MSSSIMLoss"}]
    config = load_config(config_file(tmp_path, shard, 5, losses=losses))
    run = Trainer(config, tmp_path / "run", CPU)
    low, high = (x.float() / 255 for x in run.sampler.sample(0))
    out, target = (picture[..., 2:-2, 2:-2] for picture in (run.network(low), high))  # but for the network's zeros about it
    expected = 2 * LOSSES["L1Loss"](out, target) + LOSSES["FFTLoss"](out, target) / 2 + LOSSES["MSSSIMLoss"](out, target)
    loss, _ = run._train_step(low, high)
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_depthwise_weights_have_a_learning_rate_of_their_own(tmp_path: Path, shard: Path) -> None:
    """AdamW's first step is as long as the learning rate, whatever the gradient."""
    moved: dict[float, dict[str, float]] = {}
    for factor in (1.0, 30.0):
        path = config_file(tmp_path, shard, 1, optim_g={"type": "AdamW", "lr": 1e-4, "depthwise_factor": factor})
        run = Trainer(load_config(path), tmp_path / f"{factor}", CPU)
        before = {name: tensor.clone() for name, tensor in run.network.named_parameters()}
        run.run(lambda progress: None)
        after = dict(run.network.named_parameters())
        moved[factor] = {name: float((after[name] - before[name]).detach().abs().median()) for name in before}
    for name, distance in moved[1.0].items():
        expected = 30 if name.endswith("dw.weight") else 1
        assert moved[30.0][name] == pytest.approx(expected * distance, rel=0.01), name


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
