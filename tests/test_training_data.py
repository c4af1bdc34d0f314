"""What a step of training sees: tiles, patches, drawings, patterns, and the pairs that are measured."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import smooth_picture
from PIL import Image
from tiny import CPU, config_file, sampler

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.evaluation.pairs import read_pairs, reduce_bicubic
from vs_paragonsr2.training.config import load_config
from vs_paragonsr2.training.data import Ahead, stretched
from vs_paragonsr2.training.drawings import drawing, pixel_mask
from vs_paragonsr2.training.shards import Tiles, find_shards
from vs_paragonsr2.training.trainer import Trainer


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
