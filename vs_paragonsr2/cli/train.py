"""Train a network by a YAML configuration with the keys of traiNNer-redux.

    vs-paragonsr2 train models/realtime_2x.yml --out runs/realtime_2x

The same command resumes an interrupted run; Ctrl+C and SIGTERM save it first. OUT/NAME.safetensors has the averaged weights, and
OUT/plot.png the curves. The word needs the extra ``training``.
"""

import argparse
import ctypes
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..backends import find_backend

if TYPE_CHECKING:
    from ..training import trainer


def add_to(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the word."""
    parser = words.add_parser(
        "train", help="train a network", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="the YAML configuration")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; a run that is there is resumed")
    parser.add_argument("--train-data", type=Path, nargs="+", help="replaces datasets.train.dataroot_gt")
    parser.add_argument("--val-data", type=Path, help="replaces datasets.val.dataroot")
    parser.add_argument("--device", help="cpu or cuda (default: cuda where PyTorch finds a card)")
    parser.set_defaults(run=run, extra="training")


def run(arguments: argparse.Namespace) -> None:
    """Train, or go on with a run. Raises ParagonSR2Error for what cannot be used, SystemExit for a run that was stopped."""
    from ..backends.pytorch.devices import torch_devices
    from ..training.config import ValDataset, load_config
    from ..training.trainer import Trainer

    keep_freed_memory()
    config = load_config(arguments.config)
    if arguments.train_data:
        config.datasets.train.dataroot_gt = arguments.train_data
    if arguments.val_data:
        config.datasets.val = ValDataset(dataroot=arguments.val_data)
    (device,) = torch_devices(arguments.device or find_backend("reference").default_device())
    training = Trainer(config, arguments.out, device)
    stop_on_signals(training)
    follow(training)
    if training.step < config.train.total_iter:
        sys.exit("vs-paragonsr2: train: stopped and saved; the same command goes on")


def keep_freed_memory() -> None:
    """Have glibc keep the large blocks that every step frees: to return them and fault them in again is 40% of a step on a CPU."""
    if sys.platform == "linux":
        mmap_threshold, top_pad, trim_threshold = -3, -2, -1  # glibc's malloc.h
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for parameter, size in ((mmap_threshold, 2**30), (top_pad, 2**28), (trim_threshold, 2**31 - 1)):
                libc.mallopt(parameter, size)


def stop_on_signals(training: "trainer.Trainer") -> None:
    """Have the first SIGINT or SIGTERM end the run with all of it saved, and a second one do what it does elsewhere."""

    def stop(number: int, frame: object) -> None:
        training.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def follow(training: "trainer.Trainer") -> None:
    """Run to the end, or until it is stopped, behind a bar; where there is no terminal, with a line of text now and then."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]:.1f} steps/s  loss {task.fields[loss]:.5f}  {task.fields[psnr]}"),
    )
    total = training.config.train.total_iter
    with Progress(*columns, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task(training.config.name, total=total, completed=training.step, rate=0.0, loss=float("nan"), psnr="")

        def report(progress: "trainer.Progress") -> None:
            bar.update(task, completed=progress.step, rate=progress.steps_per_second, loss=progress.loss)
            if progress.psnr is not None:
                bar.update(task, psnr=f"{progress.psnr:.3f} dB")
            if bar.disable and (progress.psnr is not None or not training.pairs):
                print(line(progress, total), flush=True)

        training.run(report)


def line(progress: "trainer.Progress", total: int) -> str:
    """What is said of a step where there is no terminal for a bar."""
    measured = "" if progress.psnr is None else f"  {progress.psnr:.3f} dB"
    remaining = timedelta(seconds=round((total - progress.step) / progress.steps_per_second))
    return f"step {progress.step}  loss {progress.loss:.5f}{measured}  {progress.steps_per_second:.1f} steps/s  {remaining} to go"
