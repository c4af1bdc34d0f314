"""The figures of pictures, and how they are shown."""

from itertools import pairwise

import numpy as np
import pytest
from pictures import clip_picture, noise
from PIL import Image

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.evaluation import figures
from vs_paragonsr2.evaluation.crops import detailed_place, side_by_side
from vs_paragonsr2.evaluation.figures import Measured, SetFigures, compare_luma, need_ssimulacra2, ssimulacra2
from vs_paragonsr2.evaluation.metrics import Picture, psnr_luma
from vs_paragonsr2.evaluation.report import rows


def test_psnr() -> None:
    grey = np.full((20, 20, 3), 100, np.uint8)
    brighter = grey + np.uint8(1)
    # A step of one in R, G and B is 219/255 in limited-range luma.
    assert psnr_luma(grey, brighter, 2) == pytest.approx(20 * np.log10(255 / (219 / 255)), abs=1e-6)
    assert psnr_luma(grey, grey, 0) == float("inf")
    edge = grey.copy()
    edge[:2] = 0
    assert psnr_luma(grey, edge, 2) == float("inf")
    with pytest.raises(ValueError, match="equal shapes"):
        psnr_luma(grey, grey[:10], 2)
    with pytest.raises(ValueError, match="crop is 10"):
        psnr_luma(grey, grey, 10)


def test_ssim_is_that_of_its_authors() -> None:
    """On 11x11 samples the window lies inside at one place, where the definition can be written down."""
    a, b = (noise(11, 11, seed)[..., 0].astype(np.float64) for seed in (0, 1))
    b = 0.7 * a + 0.3 * b
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    var_a, var_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
    covariance = (window * a * b).sum() - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    assert compare_luma(a, b)["ssim"] == pytest.approx(expected, abs=1e-5)


def test_the_perceptual_figure_falls_with_blur_and_with_false_edges() -> None:
    original = clip_picture()
    picture = Image.fromarray(original)

    def reduced(factor: int, kernel: Image.Resampling) -> Picture:
        small = picture.resize((picture.width // factor, picture.height // factor), Image.Resampling.BICUBIC)
        return np.asarray(small.resize(picture.size, kernel))

    blur, blocks = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
    scores = [
        ssimulacra2(x, original) for x in (original, reduced(2, blur), reduced(4, blur), reduced(8, blur), reduced(8, blocks))
    ]
    assert 99 < scores[0] <= 100
    assert all(better > worse + 10 for better, worse in pairwise(scores))


def test_a_missing_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    need_ssimulacra2()
    monkeypatch.setattr(figures.vs, "core", object())
    with pytest.raises(ParagonSR2Error, match=r"plugin vszip: pip install 'vs_paragonsr2\[evaluation\]' brings it"):
        need_ssimulacra2()


def test_crops_show_the_most_detailed_place_by_every_upscaler() -> None:
    picture = np.full((200, 300, 3), 128, np.uint8)
    picture[120:160, 60:110] = noise(40, 50)
    place = detailed_place(picture, 40, 50)
    assert abs(place[0].start - 120) <= 5 and abs(place[1].start - 60) <= 5
    names = ["a", "b", "c", "d"]
    measured = Measured("x", dict.fromkeys(names, picture), picture, {name: {"psnr": 30.0} for name in names})
    assert side_by_side(measured, height=40, width=50).size == (300, 2 * (80 + 26))
    assert side_by_side(measured, ["a", "b"], height=40, width=50).size == (300, 80 + 26)


def test_tables_have_means_and_the_mean_of_what_was_encoded() -> None:
    def one(name: str, kilobits: float | None, psnr: float) -> SetFigures:
        return SetFigures(name, "clip", {"bicubic": {"0": {"psnr": psnr}, "1": {"psnr": psnr + 1, "flicker": 1.0}}}, kilobits)

    sets = [one("clean", None, 40), one("low", 100.4, 30), one("high", 200, 33)]
    assert list(rows(sets, "psnr")) == [
        ["clean", "40.50"],
        ["low (100 kbit/s)", "30.50"],
        ["high (200 kbit/s)", "33.50"],
        ["encoded clips", "32.00"],
    ]
    assert next(rows(sets, "flicker")) == ["clean", "1.000"]
    assert list(rows(sets, "ssim")) == []
