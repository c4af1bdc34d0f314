"""Measure upscalers on pictures and on video: luma PSNR, SSIM, SSIMULACRA 2, and flicker.

    python scripts/evaluate.py --models realtime CHECKPOINT NETWORK.onnx --data SET5 SET14 --video CLIP --out out/evaluation

DATA is a folder of NAME_lr.png and NAME_hr.png, or of originals that are reduced here by bicubic. VIDEO is a clip or a folder of
frames: it is reduced, and upscaled as it is and after x264 at each of the rates; so is its first frame as a still scene with a
camera's noise. Bicubic, Lanczos and the base path are always measured: on Set5 at 2x bicubic must give 33.67 dB.

FOLDER gets figures.json, figures.md (tables for a model's card), gains.png, curves of each clip, and crops side by side.
Needs the extra ``evaluation``.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import track

from vs_paragonsr2.backends import Options
from vs_paragonsr2.backends.pytorch.devices import torch_devices
from vs_paragonsr2.backends.reference import default_device, exact_float32
from vs_paragonsr2.evaluation import report
from vs_paragonsr2.evaluation.crops import side_by_side
from vs_paragonsr2.evaluation.figures import Figures, Measured, SetFigures
from vs_paragonsr2.evaluation.pairs import read_pictures
from vs_paragonsr2.evaluation.pictures import measure_pictures
from vs_paragonsr2.evaluation.upscalers import open_upscalers
from vs_paragonsr2.evaluation.video import Frame, Scene, encoded, measure_scene, read_encoded, read_scene, still_scene
from vs_paragonsr2.program.tiling import Upsampler
from vs_paragonsr2.support.errors import ParagonSR2Error

CROP_FRAME = 4
"""The frame of a clip that crops show: late enough to be predicted from others, early enough for short clips."""


CARD = "card.png"


def main() -> None:
    arguments = parse_arguments()
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / CARD).unlink(missing_ok=True)
    try:
        (device,) = torch_devices(Options(backend="reference", device=arguments.device))
        exact_float32(device)
        upscalers = open_upscalers(arguments.models, arguments.scale, device, half=arguments.half)
        evaluation = Evaluation(upscalers, arguments.scale, device, arguments.out, arguments.card_picture)
        sets = [evaluation.pictures(folder) for folder in arguments.data]
        for clip in arguments.video:
            scene = read_scene(clip, arguments.scale, arguments.frames)
            scenes = [evaluation.scene(scene, "clip", crf) for crf in (None, *arguments.rates)]
            if arguments.still_frames:
                still = still_scene(scene, arguments.still_frames)
                scenes += [evaluation.scene(still, "still", crf) for crf in (None, *arguments.rates)]
            sets += scenes
            if arguments.out:
                report.plot_curves(scenes, arguments.out / f"curves_{scene.name}.png")
    except ParagonSR2Error as error:
        sys.exit(f"evaluate: {error}")
    for table in report.tables(sets):
        Console().print(table)
    if arguments.out:
        settings = {"scale": arguments.scale, "half": arguments.half}
        (arguments.out / "figures.json").write_text(
            json.dumps({**settings, "sets": [one.as_json() for one in sets]}, indent=1) + "\n"
        )
        (arguments.out / "figures.md").write_text(report.markdown(sets))
        report.plot_gains(sets, arguments.out / "gains.png")
        if arguments.card_picture and not (arguments.out / CARD).exists():
            right = f"expected a picture of --data, or {CROP_FRAME}, a clip's frame; all else is in {arguments.out}"
            sys.exit(f"evaluate: --card-picture is {arguments.card_picture!r}: {right}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["realtime"], help="names of shipped models, checkpoints, ONNX files")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--half", action="store_true", help="networks in float16")
    parser.add_argument("--device", default=default_device(), help="of PyTorch, such as cpu or cuda")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of pictures")
    parser.add_argument("--video", type=Path, nargs="+", default=[], help="clips, or folders of frames")
    parser.add_argument("--rates", type=int, nargs="*", default=[23, 28, 33], help="CRF of x264 for each clip")
    parser.add_argument("--frames", type=int, default=24, help="of each clip, from its start")
    parser.add_argument("--still-frames", type=int, default=8, help="of the still scene; 0 leaves it out")
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--card-picture",
        metavar="NAME",
        help=f"what to write as card.png, with bicubic, models and original: a picture of DATA, or {CROP_FRAME}, a clip's frame",
    )
    arguments = parser.parse_args()
    if not arguments.data and not arguments.video:
        parser.error("nothing to measure on: give --data, --video, or both")
    if arguments.frames < 1 or arguments.still_frames < 0:
        parser.error("--frames must be 1 or more, --still-frames 0 or more")
    if arguments.card_picture and not arguments.out:
        parser.error("--card-picture needs --out")
    return arguments


@dataclass(frozen=True)
class Evaluation:
    """What all test sets have in common."""

    upscalers: dict[str, Upsampler]
    scale: int
    device: torch.device
    out: Path | None
    card_picture: str | None

    def pictures(self, folder: Path) -> SetFigures:
        """Measure a folder, and write crops of every picture."""
        folder = folder.resolve()
        name = folder.parent.name if folder.name == f"x{self.scale}" else folder.name
        measured = measure_pictures(read_pictures(folder, self.scale), self.upscalers, self.scale, self.device)
        return SetFigures(name, "pictures", self._collect(name, measured))

    def scene(self, scene: Scene, kind: Literal["clip", "still"], crf: int | None) -> SetFigures:
        """Measure a scene as it is or at a rate, and write crops of one frame."""
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
        """Figures by upscaler and item; crops of all items, or of one."""
        figures: dict[str, dict[str, Figures]] = {upscaler: {} for upscaler in self.upscalers}
        for number, item in enumerate(track(items, name, console=Console(stderr=True), transient=True)):
            for upscaler, values in item.figures.items():
                figures[upscaler][item.name] = values
            if self.out and crop_at in (None, number):
                self._write_crops(self.out / "crops" / name.replace(", ", "_").replace(" ", ""), item)
        return figures

    def _write_crops(self, folder: Path, item: Measured) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        side_by_side(item).save(folder / f"{item.name}.png")
        if self.out and item.name == self.card_picture:
            shown = [name for name in self.upscalers if name != "lanczos" and not name.startswith("magic kernel")]
            side_by_side(item, shown, height=120).save(self.out / CARD)


if __name__ == "__main__":
    main()
