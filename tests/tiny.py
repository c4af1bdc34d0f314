"""A tiny training run: its configuration and its batches, for the tests of training."""

from dataclasses import replace
from pathlib import Path

import torch
import yaml

from vs_paragonsr2.training.config import TrainDataset
from vs_paragonsr2.training.data import PatchSampler

CPU = torch.device("cpu")


def config_file(tmp_path: Path, shard: Path, total_iter: int, **train: object) -> Path:
    """A configuration of a few patches of 16x16 pixels; ``train`` are further keys of its part of that name."""
    tree = {
        "name": "tiny",
        "scale": 2,
        "network_g": {"type": "paragonsr2_realtime", "upsampler_alpha": 0.0},
        "datasets": {"train": {"dataroot_gt": str(shard), "lq_size": 16, "batch_size_per_gpu": 4}},
        "train": {"total_iter": total_iter, **train},
        "logger": {"print_freq": 5, "save_checkpoint_seconds": 0},
    }
    path = tmp_path / "tiny.yml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def sampler(shard: Path, seed: int = 0, **changes: object) -> PatchSampler:
    options = TrainDataset(dataroot_gt=[shard], lq_size=16, batch_size_per_gpu=8)
    return PatchSampler(replace(options, **changes), 2, seed)


def first_pictures(shard: Path, batch: int = 8) -> torch.Tensor:
    return sampler(shard, batch_size_per_gpu=batch).sample(0).low.float() / 255
