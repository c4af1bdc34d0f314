"""Batches of aligned patches, a pure function of the step."""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..evaluation.metrics import Picture
from ..evaluation.pairs import reduce_bicubic
from .config import TrainDataset
from .degradations import SequencePool
from .drawings import drawing, pattern
from .shards import Tile, Tiles, find_shards

STRETCH = (0.5, 2.5)
"""Least and greatest factor by which a channel is stretched about its mean."""

STRETCH_SHIFT = 0.5
"""The most that a channel is moved up or down, on the scale of 0..1."""

DRAWN_MARGIN = 8
"""How much larger than a low-resolution patch a drawing is, in pixels. The patch is cut out anywhere."""


class Batch(NamedTuple):
    """Patches at both resolutions, uint8."""

    low: Tensor
    """(batch, 3, patch, patch)."""
    high: Tensor
    """(batch, 3, patch * scale, patch * scale)."""


class PatchSampler:
    """Random patches at both resolutions, mirrored and turned. The same seed and step always give the same batch.

    Where the options have a degradation, all patches come from degraded sequences, except for its share of clean ones.

    Raises ParagonSR2Error as :class:`Tiles` does, and where there is no shard.
    """

    def __init__(self, options: TrainDataset, scale: int, seed: int) -> None:
        self.options, self.scale, self.seed = options, scale, seed
        degradation = options.degradation
        side = scale * (max(options.lq_size, degradation.frame_size) if degradation else options.lq_size)
        shards = find_shards(options.dataroot_gt)
        self.tiles = Tiles(shards, scale=scale, side=side, memory_bytes=options.tile_memory_mib << 20)
        self.pool = SequencePool(self.tiles, degradation, self._oriented, seed) if degradation else None

    def sample(self, step: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, step))
        if self.pool:
            self.pool.move_to(step)
        patches = [self._patch(rng) for _ in range(self.options.batch_size_per_gpu)]
        low, high = (torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2)) for pictures in zip(*patches, strict=True))
        return Batch(low, high)

    def _patch(self, rng: np.random.Generator) -> Tile:
        degraded = self.pool.draw(rng) if self.pool else None
        if degraded:
            return self._cut(degraded, rng)
        if self.options.drawn_prob and rng.random() < self.options.drawn_prob:
            high = drawing(self.scale * (self.options.lq_size + DRAWN_MARGIN), rng)
            return self._cut(Tile(reduce_bicubic(high, self.scale), high), rng)
        if self.options.pattern_prob and rng.random() < self.options.pattern_prob:
            return pattern(self.options.lq_size, self.scale, rng)
        patch = self._cut(self.tiles[int(rng.integers(len(self.tiles)))], rng)
        seed = int(rng.integers(8))
        return Tile(self._oriented(patch.low, seed), self._oriented(patch.high, seed))

    def _cut(self, tile: Tile, rng: np.random.Generator) -> Tile:
        """A patch of ``lq_size`` from a random place."""
        p, s = self.options.lq_size, self.scale
        y, x = (int(rng.integers(side - p + 1)) for side in tile.low.shape[:2])
        return Tile(tile.low[y : y + p, x : x + p], tile.high[y * s : (y + p) * s, x * s : (x + p) * s])

    def _oriented(self, picture: Picture, number: int) -> Picture:
        """The picture in one of eight orientations, as far as the options allow: odd numbers are mirrored, all are turned."""
        if self.options.use_rot:
            picture = np.rot90(picture, number // 2)
        return picture[:, ::-1] if self.options.use_hflip and number % 2 else picture


def stretched(low: Tensor, high: Tensor, probability: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Both resolutions of a batch, float32, with the channels of some patches stretched and shifted, even far beyond 0 and 1.

    The YUV of video holds more than the 0..1 of RGB, and a network makes nothing sensible of what it has never seen.
    """
    count = len(low)
    chosen = rng.random((count, 1, 1, 1)) < probability
    gain = np.where(chosen, np.exp(rng.uniform(math.log(STRETCH[0]), math.log(STRETCH[1]), (count, 3, 1, 1))), 1).astype(np.float32)
    shift = np.where(chosen, rng.uniform(-STRETCH_SHIFT, STRETCH_SHIFT, (count, 3, 1, 1)), 0).astype(np.float32)
    gains, shifts = (torch.from_numpy(values).to(low.device) for values in (gain, shift))
    centre = low.mean((2, 3), keepdim=True) * (1 - gains) + shifts
    return torch.addcmul(centre, low, gains), torch.addcmul(centre, high, gains)


class Ahead[T]:
    """Values of a function of the step, which a thread computes one step before they are asked for."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1)
        self._pending: dict[int, Future[T]] = {}

    def __getitem__(self, step: int) -> T:
        value = (self._pending.pop(step, None) or self._thread.submit(self._make, step)).result()
        self._pending = {step + 1: self._thread.submit(self._make, step + 1)}
        return value

    def close(self) -> None:
        """Wait for the value that is being computed, and end the thread."""
        self._thread.shutdown(cancel_futures=True)
        self._pending.clear()
