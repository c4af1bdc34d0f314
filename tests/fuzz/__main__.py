"""Broken files for as long as wanted, from the root of the checkout: ``python -m tests.fuzz --seconds 600 --seed 7``.

Each must load to the very arrays that PyTorch or safetensors make of it, or be refused with ParagonSR2Error, and within 2 s and
300 MB. Exits with 1 at the first that does not, and says where it lies.
"""

import argparse
import faulthandler
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from vs_paragonsr2 import ParagonSR2Error

from .corpus import corpus, load, whole_tree
from .verdicts import same

SECONDS, MEGABYTES = 2.0, 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="when to end")
    parser.add_argument("--seed", type=int, default=0, help="which files are made")
    parser.add_argument("--count", type=int, help="how many files at most")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    load_whole_files(folder)  # what they import is no file's fault
    begun, start, loaded, slowest = time.monotonic(), peak(), list[bool](), (0.0, "")
    for name, data in corpus(options.seed, options.count):
        path = folder / name
        path.write_bytes(data)
        faulthandler.dump_traceback_later(10 * SECONDS, exit=True)
        try:
            seconds, tree = timed(path)
            judge(path, tree, seconds, peak() - start)
        except Exception:
            traceback.print_exc()
            print(f"{path} of seed {options.seed} is neither loaded as it is nor refused as it should be", file=sys.stderr)
            return 1
        path.unlink()
        loaded.append(tree is not None)
        slowest = max(slowest, (seconds, name))
        if time.monotonic() - begun > options.seconds:
            break
    faulthandler.cancel_dump_traceback_later()
    folder.rmdir()
    longest = f"{slowest[0]:.2f} s ({slowest[1]})"
    print(f"{len(loaded)} files, {sum(loaded)} of them loaded, in at most {longest} and {peak() - start:.0f} MB")
    return 0


def load_whole_files(folder: Path) -> None:
    for name, data in corpus(0, 11):
        if "whole" in name:
            (folder / name).write_bytes(data)
            judge(folder / name, load(folder / name), 0, 0)
            (folder / name).unlink()


def timed(path: Path) -> tuple[float, Any]:
    """How long loading took, and what it gave; None for a file that is refused."""
    begun = time.perf_counter()
    try:
        tree = load(path)
    except ParagonSR2Error:
        tree = None
    return time.perf_counter() - begun, tree


def judge(path: Path, tree: Any, seconds: float, megabytes: float) -> None:
    """Raises AssertionError where a file took too much, or gave other than it should."""
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert megabytes < MEGABYTES + path.stat().st_size / 1e6, f"{megabytes:.0f} MB"
    if tree is None:
        assert "whole" not in path.name, "refused"
    elif path.suffix == ".safetensors":
        expected = {name: tensor.float() for name, tensor in safetensors.torch.load_file(path).items()}
        same(dict(sorted(tree.items())), dict(sorted(expected.items())))
    elif path.stem.partition("-")[2] in ("whole", "broken", "broken_end"):  # every byte that matters has a checksum
        same(tree, whole_tree())
    else:
        try:
            with warnings.catch_warnings(action="ignore"):
                theirs = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # PyTorch looks at what is of no matter here, such as the device
            return
        same(tree, theirs)


def peak() -> float:
    """The most memory that the process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
