"""Train a network from a YAML configuration with traiNNer-redux's keys.

    python scripts/train.py models/realtime_2x.yml --out runs/realtime_2x

The same command resumes an interrupted run; Ctrl+C and SIGTERM save it first. The averaged weights are in OUT/NAME.safetensors, and
OUT/plot.png has the curves.
"""

import argparse
import ctypes
import signal
import sys
from datetime import timedelta
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vs_paragonsr2.backends import Options
from vs_paragonsr2.backends.pytorch.devices import torch_devices
from vs_paragonsr2.backends.reference import default_device
from vs_paragonsr2.support.errors import ParagonSR2Error
from vs_paragonsr2.training import trainer
from vs_paragonsr2.training.config import ValDataset, load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="the YAML configuration")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; a run found there is resumed")
    parser.add_argument("--train-data", type=Path, nargs="+", help="in place of datasets.train.dataroot_gt")
    parser.add_argument("--val-data", type=Path, help="in place of datasets.val.dataroot")
    parser.add_argument("--device", default=default_device(), help="cpu or cuda")
    arguments = parser.parse_args()
    try:
        finished = train(arguments)
    except ParagonSR2Error as error:
        sys.exit(f"train: {error}")
    if not finished:
        sys.exit("train: stopped and saved; the same command goes on")


def keep_freed_memory() -> None:
    """Have glibc keep the large blocks that every step frees: handing them back and faulting them in again is 40% of a CPU step."""
    if sys.platform == "linux":
        mmap_threshold, top_pad, trim_threshold = -3, -2, -1  # glibc's malloc.h
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for parameter, size in ((mmap_threshold, 2**30), (top_pad, 2**28), (trim_threshold, 2**31 - 1)):
                libc.mallopt(parameter, size)


def stop_on_signals(run: trainer.Trainer) -> None:
    """Have the first SIGINT or SIGTERM end the run with all of it saved, and a second one do what it does elsewhere."""

    def stop(number: int, frame: object) -> None:
        run.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def train(arguments: argparse.Namespace) -> bool:
    """Whether the run came to its end."""
    keep_freed_memory()
    config = load_config(arguments.config)
    if arguments.train_data:
        config.datasets.train.dataroot_gt = arguments.train_data
    if arguments.val_data:
        config.datasets.val = ValDataset(dataroot=arguments.val_data)
    (device,) = torch_devices(Options(backend="torch", device=arguments.device))
    run = trainer.Trainer(config, arguments.out, device)
    stop_on_signals(run)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]:.1f} steps/s  loss {task.fields[loss]:.5f}  {task.fields[psnr]}"),
    )
    with Progress(*columns, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task(config.name, total=config.train.total_iter, completed=run.step, rate=0.0, loss=float("nan"), psnr="")

        def report(progress: trainer.Progress) -> None:
            bar.update(task, completed=progress.step, rate=progress.steps_per_second, loss=progress.loss)
            if progress.psnr is not None:
                bar.update(task, psnr=f"{progress.psnr:.3f} dB")
            if bar.disable and (progress.psnr is not None or not run.pairs):
                print(line(progress, config.train.total_iter), flush=True)

        run.run(report)
    return run.step == config.train.total_iter


def line(progress: trainer.Progress, total: int) -> str:
    """What is said of a step where there is no terminal for a bar."""
    measured = "" if progress.psnr is None else f"  {progress.psnr:.3f} dB"
    remaining = timedelta(seconds=round((total - progress.step) / progress.steps_per_second))
    return f"step {progress.step}  loss {progress.loss:.5f}{measured}  {progress.steps_per_second:.1f} steps/s  {remaining} to go"


if __name__ == "__main__":
    main()
