"""Check and time the sessions for NVIDIA's cards on the card that is here, in under eight minutes, without a network.

    python scripts/gpu_check.py [--quick] [--out benchmarks] [--device cpu]

It needs PyTorch and NumPy; safetensors for the weights that ship, in place of which random ones take the same time; VapourSynth for
frames through the filter, and Torch-TensorRT for its engines. What is not installed is left out, and nothing is set up.
``--device cpu --quick`` goes through the same parts on CPU tensors; no figure of it says anything about a card.

There are three tables. ``correctness``: each session against the plain network in float64. ``device``: milliseconds of one frame
and of its stages alone, each as a CUDA graph, and what they come to of what was measured of the card: ``up_share`` and
``down_share`` of the bus, ``arithmetic_share`` of the rate of half-precision products, ``traffic_share`` of the card's copies. For
the latter two, multiply-adds and bytes are counted operation by operation: what fuses operations moves fewer bytes, and may pass 1.
``frames``: frames a second with so many lanes, ``fps`` of the session alone and ``filter_fps`` through VapourSynth; ``host_share``
is how much of a lane's time goes into the copies on the host. ``naive`` is what the field does: RGB floats up, the plain network in
half precision, RGB floats down, and wait, frame by frame; ratios are to that.
"""

import re
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import note, table, write_json
from bootstrap import ROOT, Arguments


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small pictures, few frames")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks", help="folder of the results (default: %(default)s)")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # where the package is not installed
    import torch
    from benchmarks.card.check import check
    from benchmarks.card.plan import models, plan_of

    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_check: PyTorch finds no CUDA device here; --device cpu --quick only shows that the check itself works")
    plan = plan_of(arguments.device, arguments.quick)
    with tempfile.TemporaryDirectory() as folder:
        found = check(plan, models(Path(folder)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{re.sub(r'[^A-Za-z0-9]+', '-', found.card.name).strip('-')}.json"
    write_json(path, found)
    for title, rows in (("correctness", found.correctness), ("device", found.device), ("frames", found.frames)):
        note(f"\n{title}\n{table(rows)}")
    note(f"\n{found.card}\n{found.ceilings}\n{path}")
    if any(row.right is False for row in found.correctness):
        sys.exit("gpu_check: a session is not right, or did not open")


if __name__ == "__main__":
    main()
