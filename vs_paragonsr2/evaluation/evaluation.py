"""One evaluation: upscalers over test sets of pictures and over clips, with crops to look at."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import track

from ..backends.reference.session import Upsampler, exact_float32
from ..support.errors import ParagonSR2Error
from .crops import side_by_side
from .figures import Figures, Measured, SetFigures, need_ssimulacra2
from .pairs import read_pictures
from .pictures import measure_pictures
from .report import plot_curves
from .video import Frame, Scene, encoded, measure_scene, read_encoded, read_scene, still_scene

CROP_FRAME = 4
"""The frame of a clip that crops show: late enough to be predicted from others, early enough for short clips."""

CARD = "card.png"
"""The crops of one picture for a model's card."""


class Evaluation:
    """What all test sets of an evaluation have in common. Pictures of the results go to a folder as they come.

    Args:
        upscalers: what is measured, by name.
        scale: the scale of all of them.
        device: where networks are computed; float32 there is exact from now on.
        out: the folder for pictures; None writes none.
        card_picture: the picture or frame whose crops are written as ``card.png`` too; None writes none.

    Raises:
        ParagonSR2Error: the plugin that measures SSIMULACRA 2 is not installed.
    """

    def __init__(
        self, upscalers: dict[str, Upsampler], scale: int, device: torch.device, out: Path | None, card_picture: str | None
    ) -> None:
        need_ssimulacra2()
        exact_float32(device)
        self.upscalers, self.scale, self.device = upscalers, scale, device
        self.out, self.card_picture = out, card_picture
        if out:
            out.mkdir(parents=True, exist_ok=True)
            (out / CARD).unlink(missing_ok=True)

    def pictures(self, folder: Path) -> SetFigures:
        """Measure a folder of pictures, and write crops of each. Raises ParagonSR2Error where it has none."""
        folder = folder.resolve()
        name = folder.parent.name if folder.name == f"x{self.scale}" else folder.name
        measured = measure_pictures(read_pictures(folder, self.scale), self.upscalers, self.scale, self.device)
        return SetFigures(name, "pictures", self._collect(name, measured))

    def clip(self, path: Path, frames: int, rates: Sequence[int], still_frames: int) -> list[SetFigures]:
        """Measure a clip as it is and after x264 at each rate, then its first frame as a still scene likewise; plot the curves.

        Args:
            path: a clip or a folder of frames.
            frames: how many frames are measured, from the first one on.
            rates: CRF of x264.
            still_frames: how many frames the still scene has; 0 leaves it out.

        Raises:
            ParagonSR2Error: the clip cannot be read.
        """
        scene = read_scene(path, self.scale, frames)
        found = [self._scene(scene, "clip", crf) for crf in (None, *rates)]
        if still_frames:
            still = still_scene(scene, still_frames)
            found += [self._scene(still, "still", crf) for crf in (None, *rates)]
        if self.out:
            plot_curves(found, self.out / f"curves_{scene.name}.png")
        return found

    def check_card(self) -> None:
        """Raise ParagonSR2Error where ``card_picture`` was given and no test set has had a picture of that name."""
        if self.out and self.card_picture and not (self.out / CARD).exists():
            right = f"expected a picture of --data, or {CROP_FRAME}, a clip's frame; all else is in {self.out}"
            raise ParagonSR2Error(f"--card-picture is {self.card_picture!r}: {right}")

    def _scene(self, scene: Scene, kind: Literal["clip", "still"], crf: int | None) -> SetFigures:
        """Measure a scene as it is (None) or at a rate, and write crops of one frame."""
        if crf is None:
            return SetFigures(scene.name, kind, self._frames(scene.name, scene, scene.low()))
        path, kilobits = encoded(scene, crf)
        try:
            name = f"{scene.name}, CRF {crf}"
            return SetFigures(name, kind, self._frames(name, scene, read_encoded(path)), kilobits)
        finally:
            path.unlink()

    def _frames(self, name: str, scene: Scene, low: Iterator[Frame]) -> dict[str, dict[str, Figures]]:
        return self._collect(name, measure_scene(scene, low, self.upscalers, self.scale, self.device), crop_at=CROP_FRAME)

    def _collect(self, name: str, items: Iterator[Measured], crop_at: int | None = None) -> dict[str, dict[str, Figures]]:
        """Figures by upscaler and item. Crops are written of the item number ``crop_at``; None writes them of every item."""
        figures: dict[str, dict[str, Figures]] = {upscaler: {} for upscaler in self.upscalers}
        for number, item in enumerate(track(items, name, console=Console(stderr=True), transient=True)):
            for upscaler, values in item.figures.items():
                figures[upscaler][item.name] = values
            if self.out and crop_at in (None, number):
                self._write_crops(self.out, name.replace(", ", "_").replace(" ", ""), item)
        return figures

    def _write_crops(self, out: Path, name: str, item: Measured) -> None:
        folder = out / "crops" / name
        folder.mkdir(parents=True, exist_ok=True)
        side_by_side(item).save(folder / f"{item.name}.png")
        if item.name == self.card_picture:
            shown = [name for name in self.upscalers if name != "lanczos" and not name.startswith("magic kernel")]
            side_by_side(item, shown, height=120).save(out / CARD)
