"""Measure upscalers on test sets: luma PSNR in dB, a table and a JSON.

    python scripts/evaluate.py --scale 2 --data SET5 SET14 --models realtime path/to/checkpoint.safetensors

A test set is a folder of NAME_lr.png and NAME_hr.png. Bicubic is always measured: on Set5 at 2x it must give 33.67 dB.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from vs_paragonsr2.checkpoint import load_network
from vs_paragonsr2.errors import ParagonSR2Error
from vs_paragonsr2.metrics import psnr_luma
from vs_paragonsr2.training.data import Pair, read_pairs
from vs_paragonsr2.training.trainer import upscale_picture
from vs_paragonsr2.weights import find_model

type Picture = NDArray[np.uint8]
type Upscaler = Callable[[Picture], Picture]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of test sets")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--models", nargs="*", default=["realtime"], help="names of shipped models, or checkpoints")
    parser.add_argument("--json", type=Path, help="write the figures of every picture here")
    parser.add_argument("--crops", type=Path, help="write the middle of each picture here: bicubic, models, original")
    arguments = parser.parse_args()
    try:
        upscalers: dict[str, Upscaler] = {"bicubic": partial(resize_bicubic, scale=arguments.scale)}
        for model in arguments.models:
            upscalers[model] = network_upscaler(model, arguments.scale)
        sets = {folder: read_pairs(folder) for folder in arguments.data}
    except ParagonSR2Error as error:
        sys.exit(f"evaluate: {error}")
    figures = {str(folder): measure(pairs, upscalers, arguments.scale) for folder, pairs in sets.items()}
    show(figures, list(upscalers), arguments.scale)
    if arguments.json:
        arguments.json.write_text(json.dumps({"scale": arguments.scale, "psnr_luma_db": figures}, indent=1) + "\n")
    if arguments.crops:
        for folder, pairs in sets.items():
            write_crops(pairs, upscalers, arguments.crops / "_".join(folder.parts[-2:]))


def resize_bicubic(low: Picture, scale: int) -> Picture:
    """The cubic with a = -0.5, as MATLAB's imresize enlarges."""
    height, width = low.shape[:2]
    return np.asarray(Image.fromarray(low).resize((width * scale, height * scale), Image.Resampling.BICUBIC))


def network_upscaler(model: str, scale: int) -> Upscaler:
    """An upscaler of a shipped model or a checkpoint. Raises ParagonSR2Error where its scale is another."""
    network = load_network(find_model(model, scale).path)
    if network.scale != scale:
        raise ParagonSR2Error(f"--scale is {scale}: {model} has {network.scale}")
    return partial(upscale_picture, network)


def measure(pairs: list[Pair], upscalers: dict[str, Upscaler], scale: int) -> dict[str, dict[str, float]]:
    """Luma PSNR in dB by upscaler and picture, ``scale`` pixels cropped at each border; their mean under ``mean``."""
    figures: dict[str, dict[str, float]] = {}
    for name, upscaler in upscalers.items():
        by_picture = {pair.name: psnr_luma(upscaler(pair.low), pair.high, scale) for pair in pairs}
        figures[name] = {**by_picture, "mean": float(np.mean(list(by_picture.values())))}
    return figures


def show(figures: dict[str, dict[str, dict[str, float]]], upscalers: list[str], scale: int) -> None:
    table = Table(title=f"Luma PSNR in dB, {scale}x")
    table.add_column("test set")
    for name in upscalers:
        table.add_column(name, justify="right")
    for folder, by_upscaler in figures.items():
        table.add_row(folder, *(f"{by_upscaler[name]['mean']:.2f}" for name in upscalers))
    Console().print(table)


def write_crops(pairs: list[Pair], upscalers: dict[str, Upscaler], folder: Path, side: int = 256) -> None:
    """One PNG a picture, the same place by each upscaler and in the original, from left to right."""
    folder.mkdir(parents=True, exist_ok=True)
    for pair in pairs:
        height, width = pair.high.shape[:2]
        top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
        pictures = [*(upscaler(pair.low) for upscaler in upscalers.values()), pair.high]
        crops = [picture[top : top + side, left : left + side] for picture in pictures]
        Image.fromarray(np.hstack(crops)).save(folder / f"{pair.name}.png")


if __name__ == "__main__":
    main()
