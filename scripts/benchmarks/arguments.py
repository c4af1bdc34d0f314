"""The arguments of ``scripts/benchmark.py``: one parser for each word.

This runs before anything is installed, so that ``--help`` answers at once and a mistake sets nothing up.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from bootstrap import ROOT, Arguments

CLIP = ROOT / "tests/clips/flower_960x540.mp4"

COMPARISON = """\
Time upscale() by OpenVINO against vs-mlrt's OpenVINO plugin, or against another checkout of this project: vspipe on a real clip to
nowhere, in turn, medians.

    python3 scripts/benchmark.py [--models realtime CHECKPOINT] [--precisions f32 bf16] [--clip CLIP] [--json FILE]
    python3 scripts/benchmark.py --against CHECKOUT
    python3 scripts/benchmark.py WORD --help

WORD is one of: {words}.

The peer runs in an environment of its own, which is set up where it is missing, with RGBS by resize.Bicubic and back as its users
write it, at the best of several numbers of streams: on the ONNX of the plain network, and on that of our folded one for RGB, where
what is left is the way of a frame and YUV. Ours runs as upscale() chooses. Processor time is that of all threads of vspipe without
its start; other programs that run change it less than frames a second.

With --against there is no peer: the code of the other checkout runs with the packages of this one's environment, and a shipped
model's name means each checkout's own weights. Ratios are medians by medians, and above 1 where this checkout is better.
"""
STAGES = "Say where the time of a frame goes on a CPU, and how near it is to the arithmetic limit of the machine."
PLAYBACK = "Play a clip against a clock and ask for frames the way mpv does: which come too late, before and after a seek."
HOST_COST = "Time the frame path without any network against the colour conversions that the RGB route needs on the host."
TILE_LOSS = "Measure what tiles cost where a network sees the whole picture: Photo and Pro in tiles and in one piece."
COUNT_OPERATIONS = "Count what a frame costs before and after folding, for each variant and scale."


def parse(line: "list[str]") -> "tuple[str, tuple[str, ...], argparse.Namespace]":
    """The benchmark's module, the extras of the package that it needs, and its arguments. Ends the process where they are wrong."""
    word = line[0] if line and line[0] in WORDS else "comparison"
    make, extras = WORDS[word]
    name = "benchmark.py" if word == "comparison" else f"benchmark.py {word}"
    return word, extras, make(name).parse_args(line[1:] if line[:1] == [word] else line)


def comparison(name: str) -> Arguments:
    parser = Arguments(COMPARISON.format(words=", ".join(sorted(WORDS))), name)
    parser.add_argument("--models", nargs="+", type=model, default=["realtime"], help="names of shipped models, or checkpoints")
    parser.add_argument("--precisions", nargs="+", choices=("f32", "bf16", "f16"), default=["f32", "bf16"])
    parser.add_argument("--against", type=checkout, metavar="CHECKOUT", help="another checkout of this project")
    parser.add_argument("--clip", type=file, default=CLIP, help="a clip of at least a quarter as many frames: mirrored three times")
    parser.add_argument("--frames", type=at_least(8), default=100, help="8 or more (default: %(default)s)")
    return with_rounds(parser, 3)


def stages(name: str) -> Arguments:
    parser = Arguments(STAGES, name)
    parser.add_argument("--model", type=model, default="realtime", help="name of a shipped model, or a checkpoint")
    parser.add_argument("--precisions", nargs="+", choices=("f32", "bf16"), default=["f32", "bf16"])
    parser.add_argument("--clip", type=file, default=CLIP, help="a clip of at least a quarter as many frames: mirrored three times")
    parser.add_argument("--frames", type=at_least(1), default=20, help="default: %(default)s")
    return with_rounds(parser, 3)


def playback(name: str) -> Arguments:
    parser = Arguments(PLAYBACK, name)
    parser.add_argument("--models", nargs="+", type=model, default=["realtime", "stream"], help="names of models, or checkpoints")
    parser.add_argument("--fps", nargs="+", type=rate, default=[24.0, 30.0, 60.0])
    parser.add_argument("--clip", type=file, default=CLIP, help="it is repeated where it is too short")
    parser.add_argument("--size", type=size, metavar="WxH", help="resize the clip first")
    parser.add_argument("--frames", type=at_least(1), default=120, help="frames before, and after, the seek (default: %(default)s)")
    parser.add_argument("--concurrent-frames", type=at_least(1), help="as mpv's option (default: the number of processors)")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    return with_json(parser)


def host_cost(name: str) -> Arguments:
    parser = Arguments(HOST_COST, name)
    parser.add_argument("--size", type=size, metavar="WxH", default=(1920, 1080), help="default: 1920x1080")
    parser.add_argument("--frames", type=at_least(1), default=200, help="default: %(default)s")
    parser.add_argument("--streams", type=at_least(1), help="frames at once (default: the number of cores)")
    return with_rounds(parser, 5)


def tile_loss(name: str) -> Arguments:
    parser = Arguments(TILE_LOSS, name)
    parser.add_argument("checkpoints", nargs="+", type=file, metavar="CHECKPOINT")
    parser.add_argument("--data", type=pictures, required=True, help="a folder with the pictures to upscale, NAME.png")
    parser.add_argument("--pictures", type=at_least(1), default=2, help="default: %(default)s")
    parser.add_argument("--side", type=at_least(1), default=288, help="side of the square out of the middle (default: %(default)s)")
    return with_json(parser)


def count_operations(name: str) -> Arguments:
    parser = Arguments(COUNT_OPERATIONS, name)
    parser.add_argument("--size", type=size, metavar="WxH", default=(1920, 1080), help="default: 1920x1080")
    return with_json(parser)


WORDS = {
    "comparison": (comparison, ("export", "source")),
    "count_operations": (count_operations, ("reference",)),
    "host_cost": (host_cost, ("source",)),
    "playback": (playback, ("evaluation", "source")),
    "stages": (stages, ("source",)),
    "tile_loss": (tile_loss, ("evaluation",)),
}
"""For each module of this folder that is a benchmark its parser, and the extras of the package that it needs."""


def with_rounds(parser: Arguments, default: int) -> Arguments:
    """The parser with what all have that measure in turn."""
    parser.add_argument("--rounds", type=at_least(1), default=default, help="default: %(default)s")
    return with_json(parser)


def with_json(parser: Arguments) -> Arguments:
    """The parser with what all benchmarks have."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results, and what the table leaves out")
    return parser


def at_least(least: int) -> "Callable[[str], int]":
    def whole_number(word: str) -> int:
        if not word.isdecimal() or int(word) < least:
            raise argparse.ArgumentTypeError(f"is {word}: expected a whole number of {least} or more")
        return int(word)

    return whole_number


def rate(word: str) -> float:
    try:
        if 0 < float(word) < float("inf"):
            return float(word)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"is {word}: expected a number above 0")


def size(word: str) -> "tuple[int, int]":
    width, _, height = word.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"is {word}: expected WIDTHxHEIGHT, as 1920x1080")
    return int(width), int(height)


def file(word: str) -> Path:
    if not Path(word).is_file():
        raise argparse.ArgumentTypeError(f"is {word}: there is no such file")
    return Path(word)


def model(word: str) -> str:
    """A word with a suffix is a file; any other is a name, of which the package knows whether there is a model."""
    return str(file(word)) if Path(word).suffix else word


def checkout(word: str) -> Path:
    if not Path(word, "vs_paragonsr2/__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"is {word}: expected a checkout, which has vs_paragonsr2/__init__.py")
    return Path(word)


def pictures(word: str) -> Path:
    if not any(Path(word).glob("*.png")):
        raise argparse.ArgumentTypeError(f"is {word}: expected a folder with pictures, NAME.png")
    return Path(word)
