"""Training runs: what a step does, what is saved, and that an interruption changes nothing."""

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from bootstrap import program
from PIL import Image
from tiny import CPU, config_file

from vs_paragonsr2 import ParagonSR2Error, load_network
from vs_paragonsr2.training.config import load_config
from vs_paragonsr2.training.losses import LOSSES
from vs_paragonsr2.training.trainer import Trainer


@pytest.mark.parametrize(("ours", "optimiser"), [(False, "AdamW"), (True, "AdamW"), (True, "SOAP")])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, shard: Path, ours: bool, optimiser: str) -> None:
    """With what is ours in a configuration, all of which draws by chance, and without."""
    span = {"span": {"limit": 1, "share": 0.1, "every": 2}} if ours else {}
    path = config_file(tmp_path, shard, 20, optim_g={"type": optimiser}, **span)
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree["datasets"]["train"] |= {"drawn_prob": 0.3, "pattern_prob": 0.3, "stretch_prob": 0.3} if ours else {}
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
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
        log = (tmp_path / run / "log.jsonl").read_text(encoding="utf-8").splitlines()
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
        norms[clip] = json.loads((tmp_path / str(clip) / "log.jsonl").read_text(encoding="utf-8"))["norm"]
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
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in log] == list(range(5, 65, 5))


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
    command = [program("vs-paragonsr2"), "train", config_file(tmp_path, shard, total_iter), "--out", tmp_path / "run"]
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
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    # Nothing else saves.
    tree["logger"]["save_checkpoint_seconds"] = 3600
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    log = tmp_path / "run/log.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        while process.poll() is None and not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped and saved" in errors
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["step"]
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
    with (tmp_path / "run/log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 2, "lo')  # as a run that was killed leaves it
    again = Trainer(config, tmp_path / "run", CPU)
    again.run(lambda progress: None)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert again.step == 6 and steps[-1] == 6
