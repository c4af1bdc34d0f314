"""scripts/average.py: the mean of checkpoints."""

import sys
from pathlib import Path

import average
import pytest
import torch
from conftest import golden

from vs_paragonsr2 import ParagonSR2Error, load_network
from vs_paragonsr2.network import ParagonSR2
from vs_paragonsr2.training.trainer import save_checkpoint


def checkpoint(folder: Path, variant: str, scale: int, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    path = folder / f"{variant}_{scale}_{seed}.safetensors"
    save_checkpoint(ParagonSR2(variant, scale), path)
    return path


def test_the_average_of_checkpoints_lies_between_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new/mean.safetensors"
    first, second = (checkpoint(tmp_path, "stream", 2, seed) for seed in (0, 1))
    monkeypatch.setattr(sys, "argv", ["average.py", str(first), str(second), "--shares", "0.75", "0.25", "--out", str(out)])
    average.main()
    a, b, mean = (load_network(path).conv_in.weight for path in (first, second, out))
    torch.testing.assert_close(mean, 0.75 * a + 0.25 * b)


def test_averages_of_unlike_networks_and_wrong_shares_are_named(tmp_path: Path) -> None:
    stream, larger, realtime = (checkpoint(tmp_path, *kind) for kind in (("stream", 2), ("stream", 4), ("realtime", 2)))
    for other, what in ((larger, "stream 4x"), (realtime, "realtime 2x")):
        with pytest.raises(
            ParagonSR2Error, match=f"{other.name} is {what}, .*: expected stream 2x, version 11, with alpha 0.0, as"
        ):
            average.mean_of([stream, other], None)
    for shares in ([1.0], [0.5, 0.6]):
        with pytest.raises(ParagonSR2Error, match="--shares is .*expected 2 numbers"):
            average.mean_of([stream, stream], shares)
    legacy = golden("v8_realtime_x2")
    with pytest.raises(ParagonSR2Error, match="is of version 8: expected 9 to 11"):
        average.mean_of([legacy], None)
