"""The curves of a run as a picture."""

import json
from pathlib import Path

from matplotlib.figure import Figure


def plot_run(log: Path, picture: Path) -> None:
    """Draw the loss and, where it was measured, the PSNR in dB over the steps of a ``log.jsonl``.

    ``picture`` is a PNG, which is replaced only when the new one is complete.
    """
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    measured = [entry for entry in entries if entry["psnr"] is not None]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogy([entry["step"] for entry in entries], [entry["loss"] for entry in entries], color="tab:blue", label="loss")
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    if measured:
        decibels = axes.twinx()
        decibels.plot(
            [e["step"] for e in measured], [e["psnr"] for e in measured], "o-", color="tab:orange", markersize=3, label="PSNR"
        )
        decibels.set_ylabel("luma PSNR in dB")
    figure.legend(loc="outside upper right", ncols=2)
    part = picture.with_suffix(".part")
    figure.savefig(part, format="png", dpi=120)
    part.replace(picture)
