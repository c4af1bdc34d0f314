"""Transparency comes out at the target's size."""

import numpy as np
import pytest
import vapoursynth as vs
from conftest import golden, random_planes
from route import clip_of, planes_at

from vs_paragonsr2 import upscale
from vs_paragonsr2.clip.alpha import enlarged

FORMATS = [vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS]


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_is_the_resizers_bicubic_within_the_range(fmt: int, scale: int) -> None:
    (plane,) = random_planes(fmt, 21, 17)
    plane[4:9, 5:12] = 1 if plane.dtype.kind == "f" else (1 << vs.core.get_video_format(fmt).bits_per_sample) - 1
    clip = clip_of([[plane]], fmt, _Range=1)
    alpha = enlarged(clip.get_frame(0), scale)
    assert (alpha.width, alpha.height, alpha.format.id) == (21 * scale, 17 * scale, fmt)
    expected = planes_at(clip.resize.Bicubic(width=21 * scale, height=17 * scale))[0].astype(np.float64)
    found = np.asarray(alpha[0]).astype(np.float64)
    if plane.dtype.kind == "f":
        expected = expected.clip(0, 1)
    tolerance = {vs.GRAYH: 2e-3, vs.GRAYS: 1e-5, vs.GRAY16: 4}.get(fmt, 1)  # the resizer rounds between rows and columns
    assert np.abs(found - expected).max() <= tolerance


def test_frames_carry_it_at_the_targets_size() -> None:
    alpha = clip_of([random_planes(vs.GRAY8, 16, 12, seed) for seed in range(3)], vs.GRAY8)
    clip = clip_of([random_planes(vs.YUV420P8, 16, 12, seed) for seed in range(3)], vs.YUV420P8)
    result = upscale(clip.std.ClipToProp(alpha), golden("realtime_x2"))
    for n in range(3):
        found = result.get_frame(n).props["_Alpha"]
        assert np.array_equal(np.asarray(found[0]), np.asarray(enlarged(alpha.get_frame(n), 2)[0]))
    assert result.std.PropToClip("_Alpha").width == 32


def test_a_mask_of_another_size_stays_as_it_is() -> None:
    clip = clip_of([random_planes(vs.YUV420P8, 16, 12)], vs.YUV420P8)
    small = vs.core.std.BlankClip(format=vs.GRAY8, width=4, height=4, length=1)
    assert upscale(clip.std.ClipToProp(small), golden("realtime_x2")).get_frame(0).props["_Alpha"].width == 4
