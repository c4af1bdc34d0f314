"""Write a network as ONNX, and check the file with ONNX Runtime against PyTorch.

    vs-paragonsr2 export realtime --out realtime_2x.onnx
    vs-paragonsr2 export realtime --graph planes --size 1920x1080 --format YUV420P10 --out planes.onnx

This is for programs that run ONNX models themselves; this package needs no ONNX. There are three graphs:

plain   (1, 3, H, W) RGB, 0..1, to (1, 3, H * scale, W * scale): the network as it was trained, any height and width of 2 or more
folded  the same in less time, and with repeated edges in place of darkened ones
planes  the planes of a frame to the larger ones, of one size and format: uint8; int16 with the bits of 9 to 16-bit samples; floats

A file must give what PyTorch gives in float64: for something like a picture to within a tolerance, for white noise as nearly as
PyTorch itself does in the file's precision. The word needs the extra ``export``.
"""

import argparse
import logging
from functools import partial
from pathlib import Path

from .clip_arguments import add_clip_arguments, clip_spec, open_checkpoint


def add_to(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the word."""
    parser = words.add_parser(
        "export", help="write a network as ONNX", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name of a shipped model, or a checkpoint")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--graph", choices=("plain", "folded", "planes"), default="plain", help="default: %(default)s")
    parser.add_argument("--scale", type=int, help="scale of a shipped model (default: its smallest)")
    parser.add_argument("--half", action="store_true", help="float16: weights and RGB; with planes, all that is learned")
    add_clip_arguments(parser.add_argument_group("the clip of --graph planes"))
    parser.set_defaults(run=run, extra="export")


def run(arguments: argparse.Namespace) -> None:
    """Write the file. Raises ParagonSR2Error where a model or a kind of clip does not exist, or the file gives another picture."""
    import torch

    from ..backends.pytorch.onnx import RGBModule, export_planes, export_rgb, plain
    from ..checkpoints.network import load_network

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that nothing here needs
    dtype = torch.float16 if arguments.half else torch.float32
    path, checkpoint = open_checkpoint(arguments.model, arguments.scale)
    match arguments.graph:
        case "plain":
            error = export_rgb(partial(plain, load_network(path)), arguments.out, dtype)
        case "folded":
            error = export_rgb(partial(RGBModule, checkpoint.parts), arguments.out, dtype)
        case _:
            error = export_planes(checkpoint.parts, clip_spec(checkpoint.description.scale, arguments), arguments.out, dtype)
    print(f"{arguments.out}: differs from PyTorch by at most {error:.1e}")
