"""Figures of many test sets as tables and plots."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from rich.table import Table

from .figures import FIGURES, SetFigures

mpl.use("agg")
from matplotlib import pyplot as plt


def rows(sets: list[SetFigures], figure: str) -> Iterator[list[str]]:
    """The rows of one figure: the name of a test set, then its mean by upscaler. Sets without the figure are left out.

    Where several clips were encoded, the last row is the mean over them.
    """
    digits = FIGURES[figure].digits
    encoded = []
    for one in sets:
        means = [one.mean(upscaler, figure) for upscaler in one.figures]
        if None in means:
            continue
        rate = "" if one.kilobits is None else f" ({one.kilobits:.0f} kbit/s)"
        yield [one.name + rate, *(f"{mean:.{digits}f}" for mean in means)]
        if one.kind == "clip" and one.kilobits is not None:
            encoded.append(means)
    if len(encoded) > 1:
        yield ["encoded clips", *(f"{mean:.{digits}f}" for mean in np.mean(np.array(encoded, float), axis=0))]


def tables(sets: list[SetFigures]) -> Iterator[Table]:
    """Tables for the terminal, one for each figure that there is."""
    for figure, shown in FIGURES.items():
        lines = list(rows(sets, figure))
        if lines:
            table = Table("test set", title=shown.title)
            for upscaler in sets[0].figures:
                table.add_column(upscaler, justify="right")
            for line in lines:
                table.add_row(*line)
            yield table


def markdown(sets: list[SetFigures]) -> str:
    """The same tables in Markdown, as a model's card has them."""
    parts = []
    for figure, shown in FIGURES.items():
        lines = list(rows(sets, figure))
        if lines:
            header = ["test set", *sets[0].figures]
            body = [header, ["---"] * len(header), *lines]
            parts.append(f"{shown.title}:\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in body) + "\n")
    return "\n".join(parts)


def write_report(sets: list[SetFigures], settings: Mapping[str, object], out: Path) -> None:
    """Write ``figures.json`` with the settings, ``figures.md`` and ``gains.png`` into the folder ``out``."""
    figures = json.dumps({**settings, "sets": [one.as_json() for one in sets]}, indent=1)
    (out / "figures.json").write_text(figures + "\n", encoding="utf-8")
    (out / "figures.md").write_text(markdown(sets), encoding="utf-8")
    plot_gains(sets, out / "gains.png")


def plot_gains(sets: list[SetFigures], path: Path) -> None:
    """Plot the mean luma PSNR over bicubic's, with a group of bars for each test set."""
    upscalers = [name for name in sets[0].figures if name != "bicubic"]
    figure, axes = plt.subplots(figsize=(max(6, 1.2 * len(sets) + 3), 4), layout="constrained")
    for number, upscaler in enumerate(upscalers):
        gains = [(one.mean(upscaler, "psnr") or 0) - (one.mean("bicubic", "psnr") or 0) for one in sets]
        axes.bar(np.arange(len(sets)) + (number + 0.5) / len(upscalers) * 0.8 - 0.4, gains, 0.8 / len(upscalers), label=upscaler)
    axes.set_xticks(range(len(sets)), [one.name for one in sets], rotation=30, ha="right", fontsize=8)
    axes.set_ylabel("luma PSNR over bicubic, dB")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_curves(scenes: list[SetFigures], path: Path) -> None:
    """Plot the figures of one clip frame by frame: a row of axes for each rate, a column for each figure."""
    figure, grid = plt.subplots(
        len(scenes), len(FIGURES), figsize=(4 * len(FIGURES), 2.6 * len(scenes)), squeeze=False, sharex=True, layout="constrained"
    )
    for scene, line in zip(scenes, grid, strict=True):
        for (key, shown), axes in zip(FIGURES.items(), line, strict=True):
            for upscaler, frames in scene.figures.items():
                points = [(int(number), values[key]) for number, values in frames.items() if key in values]
                if points:
                    axes.plot(*zip(*points, strict=True), label=upscaler, linewidth=1)
            axes.set_title(f"{scene.name}: {shown.title}", fontsize=7)
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=len(scenes[0].figures), fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("frame")
    figure.savefig(path, dpi=110)
    plt.close(figure)
