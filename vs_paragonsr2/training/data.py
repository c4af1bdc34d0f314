"""Training pictures: tar shards of lossless tiles, reduced as the test sets are."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import ParagonSR2Error

PICTURES = (".webp", ".png")


def find_shards(roots: list[Path]) -> list[Path]:
    """The tar files among ``roots`` and in the folders among them, sorted. Raises ParagonSR2Error where there are none."""
    shards = sorted(p for root in roots for p in ([root] if root.is_file() else root.glob("*.tar")))
    if not shards:
        raise ParagonSR2Error(f"dataroot_gt is {', '.join(map(str, roots))}: no .tar shard is there")
    return shards


def read_shard(shard: Path) -> Iterator[NDArray[np.uint8]]:
    """The pictures of one tar file, (H, W, 3) RGB, in its order."""
    with tarfile.open(shard) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.name.endswith(PICTURES) else None
            if stream is not None:
                with Image.open(io.BytesIO(stream.read())) as picture:
                    yield np.asarray(picture.convert("RGB"))


def reduce_bicubic(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Reduce (H, W, 3) with the antialiased bicubic (a = -0.5) that MATLAB's imresize has; H and W divisible by scale."""
    height, width = picture.shape[:2]
    return np.asarray(Image.fromarray(picture).resize((width // scale, height // scale), Image.Resampling.BICUBIC))


class PatchSampler:
    """Random aligned patches of all tiles, with flips and quarter turns. Its state is one generator, so a run can resume.

    The tiles stay in memory as bytes, on ``device``: a GPU cuts its own batches.
    """

    def __init__(
        self,
        shards: list[Path],
        *,
        scale: int,
        patch: int,
        batch: int,
        flip: bool,
        rotate: bool,
        seed: int,
        device: torch.device,
    ) -> None:
        self.scale, self.patch, self.batch, self.flip, self.rotate = scale, patch, batch, flip, rotate
        high: list[Tensor] = []
        low: list[Tensor] = []
        for shard in shards:
            for picture in read_shard(shard):
                height, width = (side - side % scale for side in picture.shape[:2])
                if min(height, width) < patch * scale:
                    continue
                picture = picture[:height, :width]
                high.append(torch.from_numpy(picture.copy()).permute(2, 0, 1).to(device))
                low.append(torch.from_numpy(reduce_bicubic(picture, scale).copy()).permute(2, 0, 1).to(device))
        if not high:
            raise ParagonSR2Error(f"lq_size is {patch}: no picture in {len(shards)} shards is as large as {patch * scale}")
        self.high, self.low = high, low
        self.device = device
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.high)

    def sample(self) -> tuple[Tensor, Tensor]:
        """The next batch: (batch, 3, patch, patch) and (batch, 3, patch * scale, patch * scale), float32, 0..1."""
        lows: list[Tensor] = []
        highs: list[Tensor] = []
        for _ in range(self.batch):
            i, a, b, turn, mirror = torch.randint(0, 2**30, (5,), generator=self.generator).tolist()
            low, high = self.low[i % len(self)], self.high[i % len(self)]
            p, s = self.patch, self.scale
            y, x = a % (low.shape[1] - p + 1), b % (low.shape[2] - p + 1)
            low = low[:, y : y + p, x : x + p]
            high = high[:, y * s : (y + p) * s, x * s : (x + p) * s]
            if self.rotate:
                low, high = low.rot90(turn % 4, (1, 2)), high.rot90(turn % 4, (1, 2))
            if self.flip and mirror % 2:
                low, high = low.flip(2), high.flip(2)
            lows.append(low)
            highs.append(high)
        return torch.stack(lows).float() / 255, torch.stack(highs).float() / 255


class Pair(NamedTuple):
    """One picture of a test set."""

    name: str
    low: NDArray[np.uint8]
    """(H, W, 3), RGB."""
    high: NDArray[np.uint8]
    """The same at the high resolution."""


def read_pairs(folder: Path) -> list[Pair]:
    """``NAME_lr.png`` and ``NAME_hr.png`` of a test set, grey pictures as RGB.

    Raises ParagonSR2Error where the folder has no pair.
    """
    pairs = []
    for low in sorted(folder.glob("*_lr.png")):
        name = low.name.removesuffix("_lr.png")
        with Image.open(low) as a, Image.open(low.with_name(f"{name}_hr.png")) as b:
            pairs.append(Pair(name, np.asarray(a.convert("RGB")), np.asarray(b.convert("RGB"))))
    if not pairs:
        raise ParagonSR2Error(f"{folder}: no NAME_lr.png beside a NAME_hr.png is there")
    return pairs
