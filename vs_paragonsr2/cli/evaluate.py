"""Measure upscalers on pictures and on video: luma PSNR, SSIM, SSIMULACRA 2, and flicker.

    vs-paragonsr2 evaluate --models realtime CHECKPOINT NETWORK.onnx --data SET5 SET14 --video CLIP --out out/evaluation

DATA is a folder of NAME_lr.png and NAME_hr.png, or of originals, which are reduced here by bicubic. VIDEO is a clip or a folder of
frames: it is reduced, and upscaled as it is and after x264 at each of the rates; so is its first frame as a still scene with a
camera's noise. Bicubic, Lanczos and the base path are always measured: on Set5 at 2x, bicubic must give 33.67 dB.

FOLDER gets figures.json, figures.md (tables for a model's card), gains.png, curves of each clip, and crops side by side.
The word needs the extra ``evaluation``.
"""

import argparse
from pathlib import Path

from rich.console import Console

from ..backends import find_backend
from ..support.arguments import whole_number
from ..support.errors import ParagonSR2Error


def add_to(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the word."""
    parser = words.add_parser(
        "evaluate",
        help="measure upscalers on pictures and on video",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", nargs="*", default=["realtime"], help="names of shipped models, checkpoints, ONNX files")
    parser.add_argument("--scale", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--half", action="store_true", help="compute networks in float16")
    parser.add_argument("--device", help="PyTorch's device, cpu or cuda (default: cuda where PyTorch finds a card)")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of pictures")
    parser.add_argument("--video", type=Path, nargs="+", default=[], help="clips, or folders of frames")
    parser.add_argument("--rates", type=int, nargs="*", default=[23, 28, 33], help="CRF of x264 for each clip")
    parser.add_argument("--frames", type=int, default=24, help="frames of each clip, from its start (default: %(default)s)")
    parser.add_argument("--still-frames", type=int, default=8, help="frames of the still scene; 0 leaves it out")
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    text = "the picture of DATA, or the frame of a clip, whose crops by bicubic, the models and the original become card.png"
    parser.add_argument("--card-picture", metavar="NAME", help=text)
    parser.set_defaults(run=run, extra="evaluation")


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the tables, and write the files. Raises ParagonSR2Error for what cannot be used."""
    if not arguments.data and not arguments.video:
        raise ParagonSR2Error("nothing to measure on: give --data, --video, or both")
    whole_number("--frames", arguments.frames, 1)
    whole_number("--still-frames", arguments.still_frames, 0)
    if arguments.card_picture and not arguments.out:
        raise ParagonSR2Error(f"--card-picture is {arguments.card_picture!r}: it needs --out")

    from ..backends.pytorch.devices import torch_devices
    from ..evaluation.evaluation import Evaluation
    from ..evaluation.report import tables, write_report
    from ..evaluation.upscalers import open_upscalers

    (device,) = torch_devices(arguments.device or find_backend("reference").default_device())
    upscalers = open_upscalers(arguments.models, arguments.scale, device, half=arguments.half)
    evaluation = Evaluation(upscalers, arguments.scale, device, arguments.out, arguments.card_picture)
    sets = [evaluation.pictures(folder) for folder in arguments.data]
    for clip in arguments.video:
        sets += evaluation.clip(clip, arguments.frames, arguments.rates, arguments.still_frames)
    for table in tables(sets):
        Console().print(table)
    if arguments.out:
        write_report(sets, {"scale": arguments.scale, "half": arguments.half}, arguments.out)
        evaluation.check_card()
