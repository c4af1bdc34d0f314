"""The figures of one picture or frame, and of a whole test set.

The perceptual one is SSIMULACRA 2, by the VapourSynth plugin vszip: people who judge encodes use it, it was tuned on human
scores of compressed pictures, it counts blur and false edges both, and it has no weights to fetch. 100 is the original, 90 cannot
be told from it, 70 is good, 50 is fair.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from ..backends.base import Plane
from ..support.errors import ParagonSR2Error
from .metrics import Picture, crop_both, luma, psnr

type Figures = dict[str, float]
"""The figures of one picture, by their names in ``FIGURES``."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How a figure is shown."""

    title: str
    digits: int


FIGURES = {
    "psnr": Figure("Luma PSNR in dB", 2),
    "ssim": Figure("Luma SSIM", 4),
    "ssimulacra2": Figure("SSIMULACRA 2", 1),
    "flicker": Figure("Flicker in luma code values, less is better", 3),
}


MOST_PSNR = 100.0
"""The highest PSNR, in dB, that counts, also of equal pictures such as the black frames before a clip: infinite ones would spoil
a mean."""


class Measured(NamedTuple):
    """One picture or frame, upscaled by every upscaler."""

    name: str
    pictures: dict[str, Picture]
    """The results by upscaler."""
    original: Picture
    figures: dict[str, Figures]
    """Their figures by upscaler."""


@dataclass(frozen=True, slots=True)
class SetFigures:
    """The figures of one test set: a folder of pictures, or a scene at one rate."""

    name: str
    kind: Literal["pictures", "clip", "still"]
    figures: dict[str, dict[str, Figures]]
    """Figures by upscaler, then by picture or frame."""
    kilobits: float | None = None
    """Kilobits a second of an encoded scene; None for pictures, and for scenes that were not encoded."""

    def mean(self, upscaler: str, figure: str) -> float | None:
        """The mean over the pictures or frames that have the figure; None where none has it."""
        values = [item[figure] for item in self.figures[upscaler].values() if figure in item]
        return float(np.mean(values)) if values else None

    def as_json(self) -> dict[str, Any]:
        """The fields and the means, as ``figures.json`` has them."""
        means = {
            upscaler: {figure: value for figure in FIGURES if (value := self.mean(upscaler, figure)) is not None}
            for upscaler in self.figures
        }
        return {**asdict(self), "means": means}


def compare_luma(a: NDArray[Any], b: NDArray[Any]) -> Figures:
    """PSNR and SSIM of two luma planes (H, W) in code values of 8 bits, each side at least 11 samples long.

    SSIM uses the window of its authors, a Gaussian of 11x11 with sigma 1.5, at every place where it lies wholly inside.
    """
    ssim = structural_similarity(  # in float32, which is three times as fast and right to seven digits
        a.astype(np.float32), b.astype(np.float32), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return {"psnr": min(psnr(a.astype(np.float64), b.astype(np.float64)), MOST_PSNR), "ssim": float(ssim)}


def compare_pictures(picture: Picture, original: Picture, crop: int) -> Figures:
    """PSNR and SSIM of BT.601 luma, and SSIMULACRA 2, with ``crop`` pixels left out at each border.

    Raises:
        ValueError: the shapes differ, or too little is left after cropping.
    """
    a, b = crop_both(picture, original, crop)
    return {**compare_luma(luma(a), luma(b)), "ssimulacra2": ssimulacra2(a, b)}


def need_ssimulacra2() -> None:
    """Raise ParagonSR2Error where VapourSynth has no plugin for SSIMULACRA 2."""
    if not hasattr(vs.core, "vszip"):
        raise ParagonSR2Error("SSIMULACRA 2 needs the VapourSynth plugin vszip: pip install 'vs_paragonsr2[evaluation]' brings it")


def ssimulacra2(picture: Picture, original: Picture) -> float:
    """SSIMULACRA 2 of two sRGB pictures (H, W, 3): 100 for equal ones, without a lower end."""
    nodes = (one_frame(list(np.moveaxis(rgb, 2, 0)), vs.RGB24) for rgb in (original, picture))
    with vs.core.vszip.SSIMULACRA2(*nodes).get_frame(0) as frame:
        return float(frame.props["SSIMULACRA2"])


def one_frame(planes: Sequence[Plane], fmt: vs.PresetVideoFormat, **props: int) -> vs.VideoNode:
    """A clip of one frame with these planes, which must have the format's shapes and types, and with these frame properties."""
    height, width = planes[0].shape
    blank = vs.core.std.BlankClip(format=fmt, width=width, height=height, length=1, keep=True)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = vs.core.create_video_frame(f.format, width, height)
        for number, plane in enumerate(planes):
            np.copyto(np.asarray(frame[number]), plane)
        frame.props.update(props)
        return frame

    return blank.std.ModifyFrame(blank, fill)
