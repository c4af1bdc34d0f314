"""What is measured: resizers, the base path alone, networks, and networks of other programs as ONNX.

All are functions of one RGB tensor, and all go the reference backend's way from planes to planes: the same conversion of colour,
the same replicated borders, one rounding at the end. Only resizers of pictures do as the literature does.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..backends.reference.session import ReferenceSession, Upsampler
from ..checkpoints.models import find_model
from ..checkpoints.network import Network, load_network
from ..network.magic_kernel import MagicKernelBase
from ..program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from ..support.errors import ParagonSR2Error
from .metrics import Picture

ONNX_RADIUS = 16
"""Pixels around a picture for a network whose receptive field is not known: as many as Stream needs."""


class Resizer:
    """Pillow's resizer: bicubic with a = -0.5, or Lanczos with three lobes."""

    window = None

    def __init__(self, scale: int, kernel: Image.Resampling) -> None:
        self.scale = scale
        self.kernel = kernel
        self.radius = 3 if kernel == Image.Resampling.LANCZOS else 2

    def picture(self, low: Picture) -> Picture:
        """As MATLAB's imresize, and so the literature, enlarges 8-bit pictures: rounded after each of the two passes.

        That costs 0.004 dB on Set5, which makes the difference between 33.67 and 33.68.
        """
        size = low.shape[1] * self.scale, low.shape[0] * self.scale
        return np.asarray(Image.fromarray(low).resize(size, self.kernel))

    def __call__(self, rgb: Tensor) -> Tensor:
        """(1, 3, H, W) to (1, 3, H * scale, W * scale), float32."""
        size = rgb.shape[3] * self.scale, rgb.shape[2] * self.scale
        planes = [np.asarray(Image.fromarray(plane.cpu().numpy()).resize(size, self.kernel)) for plane in rgb[0]]
        return torch.from_numpy(np.stack(planes))[None].to(rgb.device)


class HalfPrecision:
    """A network with weights and arithmetic in float16; float32 goes in and comes out."""

    def __init__(self, network: Network | MagicKernelBase) -> None:
        self.network = network.half()
        self.scale, self.radius, self.window = network.scale, network.radius, network.window

    def __call__(self, rgb: Tensor) -> Tensor:
        return self.network(rgb.half()).float()


class OnnxNetwork:
    """A network of another program: one input and one output, RGB, 0..1, (1, 3, H, W), in its own precision.

    Raises:
        ParagonSR2Error: the file is no such network, or has another scale.
    """

    window = None
    radius = ONNX_RADIUS

    def __init__(self, path: Path, scale: int) -> None:
        import onnxruntime

        try:
            self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            entry = self.session.get_inputs()[0]
            self.input = entry.name
            self.dtype = np.float16 if entry.type == "tensor(float16)" else np.float32
            found = self(torch.zeros(1, 3, 32, 48)).shape
        except Exception as error:  # the runtime's own exceptions have no common type
            raise ParagonSR2Error(f"{path}: expected an ONNX network for RGB (1, 3, H, W) of any size ({error})") from error
        if found != (1, 3, 32 * scale, 48 * scale):
            raise ParagonSR2Error(f"{path}: makes {tuple(found)} of (1, 3, 32, 48): expected {scale} times the height and width")
        self.scale = scale

    def __call__(self, rgb: Tensor) -> Tensor:
        (out,) = self.session.run(None, {self.input: rgb.cpu().numpy().astype(self.dtype)})
        return torch.from_numpy(out.astype(np.float32)).to(rgb.device)


def open_upscalers(models: Iterable[str], scale: int, device: torch.device, *, half: bool = False) -> dict[str, Upsampler]:
    """Bicubic, Lanczos, the base path of each blend that the models have (alpha 0 without any), and the models, by name.

    Args:
        models: names of shipped models, checkpoints, or ONNX files; a file goes by its stem.
        half: networks in float16. Resizers stay in float32, and an ONNX network has its own precision.

    Raises:
        ParagonSR2Error: a model cannot be loaded, has another scale, or has the name of another one.
    """
    upscalers: dict[str, Upsampler] = {
        "bicubic": Resizer(scale, Image.Resampling.BICUBIC),
        "lanczos": Resizer(scale, Image.Resampling.LANCZOS),
    }
    opened: dict[str, Upsampler] = {}
    networks: list[Network] = []

    def prepared[N: (Network, MagicKernelBase)](network: N) -> N | HalfPrecision:
        moved = network.to(device).to(memory_format=torch.channels_last)
        return HalfPrecision(moved) if half else moved

    for model in models:
        name = Path(model).stem
        if name in opened or name in upscalers:
            raise ParagonSR2Error(f"model is {model!r}: another one is called {name!r} as well")
        if Path(model).suffix == ".onnx":
            opened[name] = OnnxNetwork(Path(model), scale)
            continue
        network = load_network(find_model(model, scale).path)
        if network.scale != scale:
            raise ParagonSR2Error(f"scale is {scale}: {model} has {network.scale}")
        networks.append(network)
        opened[name] = prepared(network)
    for alpha in sorted({network.alpha for network in networks} or {0.0}):
        name = f"magic kernel, alpha {alpha:g}" if alpha else "magic kernel"
        upscalers[name] = prepared(MagicKernelBase(scale, alpha))
    return upscalers | opened


def upscale_picture(network: Upsampler, low: Picture, device: torch.device) -> Picture:
    """Upscale one 8-bit RGB picture (H, W, 3): a resizer in its own way, the others as the filter's reference backend does."""
    if isinstance(network, Resizer):
        return network.picture(low)
    height, width = low.shape[:2]
    source = PlaneFormat("RGB", 8, False, 0, 0, width, height)
    # The matrix and the siting mean nothing to RGB.
    session = open_session(network, source, Colorimetry(Matrix.BT709, Range.FULL, Siting.LEFT), device)
    high = np.empty((height * network.scale, width * network.scale, 3), np.uint8)
    session.run([low[..., plane] for plane in range(3)], [high[..., plane] for plane in range(3)])
    return high


def open_session(network: Upsampler, source: PlaneFormat, colour: Colorimetry, device: torch.device) -> ReferenceSession:
    """A session from planes of a format to planes of the same format, ``network.scale`` times as large."""
    target = replace(source, width=source.width * network.scale, height=source.height * network.scale)
    return ReferenceSession(network, ClipSpec(source, target, colour), device, 1)
