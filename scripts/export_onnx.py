"""Write the plain network as ONNX (RGB, float, any height and width), and check it with ONNX Runtime against PyTorch.

    python scripts/export_onnx.py realtime --out realtime_2x.onnx [--half]

For programs that run ONNX models themselves; this package needs none. Needs the extra ``export``.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from vs_paragonsr2.checkpoint import load_network
from vs_paragonsr2.errors import ParagonSR2Error
from vs_paragonsr2.weights import find_model

TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of a shipped model, or a checkpoint")
    parser.add_argument("--scale", type=int, help="of a shipped model; its smallest otherwise")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", action="store_true", help="float16 weights, inputs and outputs")
    arguments = parser.parse_args()
    try:
        error = export_plain(arguments.model, arguments.scale, arguments.out, torch.float16 if arguments.half else torch.float32)
    except ParagonSR2Error as fault:
        sys.exit(f"export_onnx: {fault}")
    print(f"{arguments.out}: differs from PyTorch by at most {error:.1e}")


def export_plain(model: str, scale: int | None, out: Path, dtype: torch.dtype) -> float:
    """Write a network, (1, 3, H, W) to (1, 3, H * scale, W * scale), and return its largest difference from PyTorch in float32.

    Raises ParagonSR2Error where the model cannot be loaded, or the file does not give PyTorch's picture.
    """
    network = load_network(find_model(model, scale).path)
    sides = {2: torch.export.Dim("height", min=2, max=16384), 3: torch.export.Dim("width", min=2, max=16384)}
    example = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(example).numpy()
        program = torch.onnx.export(
            network.to(dtype),
            (example.to(dtype),),
            dynamo=True,
            dynamic_shapes=(sides,),
            input_names=["input"],
            output_names=["output"],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    program.save(out)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": example.to(dtype).numpy()})
    error = float(np.abs(found.astype(np.float32) - expected).max())
    if not error <= TOLERANCE[dtype]:
        raise ParagonSR2Error(f"{out}: differs from PyTorch by {error}: expected at most {TOLERANCE[dtype]}")
    return error


if __name__ == "__main__":
    main()
