"""Configurations of training runs: what is read, and how faults in them are named."""

from pathlib import Path

import pytest
import yaml
from bootstrap import ROOT
from tiny import config_file

from vs_paragonsr2 import ParagonSR2Error, shipped_models
from vs_paragonsr2.training.config import load_config


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
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(ParagonSR2Error, match=match):
        load_config(path)


@pytest.mark.parametrize("kind", ["realtime", "paragonsr2_nano"])
def test_an_unknown_network_is_named(tmp_path: Path, shard: Path, kind: str) -> None:
    config = load_config(config_file(tmp_path, shard, 5))
    config.network_g.type = kind
    known = "paragonsr2_realtime, paragonsr2_stream, paragonsr2_photo, paragonsr2_pro"
    with pytest.raises(ParagonSR2Error, match=f"network_g.type is '{kind}': expected one of {known}$"):
        config.network_g.build(2)


def test_the_shipped_configurations_can_be_read() -> None:
    paths = sorted((ROOT / "models").glob("*.yml"))
    assert {path.stem for path in paths} >= {path.stem for path in shipped_models().values()}
    for path in paths:
        config = load_config(path)
        assert config.name == path.stem
        assert config.network_g.build(config.scale).scale == config.scale
