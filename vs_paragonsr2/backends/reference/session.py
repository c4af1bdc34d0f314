"""The plain path: the published network and textbook colour conversion in float32, in PyTorch, on a CPU or a CUDA device.

Nothing is folded or fused. What is faster is tested against it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...checkpoints.models import Model
from ...checkpoints.network import Network, load_network
from ...program.colour import (
    ClipSpec,
    Resampler,
    chroma_downsampler,
    chroma_upsampler,
    rgb_to_yuv,
    sample_scale,
    siting_offsets,
    yuv_to_rgb,
)
from ..base import Plane, Request, Session, check_scale
from ..options import Options
from ..pytorch.devices import torch_devices


def open_session(request: Request[Options]) -> "ReferenceSession":
    """Load the model and prepare it for one kind of clip. Raises ParagonSR2Error for a bad checkpoint or an absent device."""
    (device,) = torch_devices(request.device, request.options.device_index)
    exact_float32(device)
    network = network_on(request.model, request.alpha, device)
    return ReferenceSession(network, request.spec, device, request.num_streams)


def exact_float32(device: torch.device) -> None:
    """Have a CUDA device compute in float32 what is float32: PyTorch's default, TF32, has ten bits of mantissa.

    The switch is the process's own, so it is set once and for all.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


@lru_cache(maxsize=4)
def network_on(model: Model, alpha: float | None, device: torch.device) -> Network:
    """A model's network on a device, shared by the sessions that differ in the clip alone."""
    return load_network(model.path, alpha=alpha).to(device).to(memory_format=torch.channels_last)


class Upsampler(Protocol):
    """What a frame can be run through, as our networks: (1, 3, H, W) RGB to (1, 3, H * scale, W * scale)."""

    @property
    def scale(self) -> int:
        """Factor on each side."""

    @property
    def radius(self) -> int:
        """Input pixels on each side that an output pixel depends on."""

    @property
    def window(self) -> int | None:
        """Side of the attention windows in pixels; None for a finite receptive field."""

    def __call__(self, rgb: Any, /) -> Any:
        """Both tensors are float32, nominally 0..1."""


def padding(network: Upsampler, spec: ClipSpec) -> int:
    """Luma samples by which a frame is padded on each side before it is run; the result is cropped by so many times the scale.

    They cover the radius of the network and the filter that reduces chroma behind it, and are a multiple of the chroma ratios of
    source and target. For networks with attention windows, which see the whole picture, they cover the radius of the convolutions
    and are a multiple of the window.
    """
    source, target = spec.source, spec.target
    reach = network.radius
    if any(group.is_chroma for group in target.groups):
        reach += -(-2 * max(target.chroma_ratios) // network.scale)
    multiple = max(network.window or 1, *source.chroma_ratios, *target.chroma_ratios)
    return -(-reach // multiple) * multiple


class ReferenceSession(Session[None]):
    """Planes to RGB, the network, RGB to planes. A frame is replicate-padded first and cropped last.

    ``numbers`` is the network's dtype, ``np.float32`` or ``np.float64``.

    Raises ParagonSR2Error where the network's scale is not the one between the formats of ``spec``.
    """

    def __init__(
        self, network: Upsampler, spec: ClipSpec, device: torch.device, num_streams: int, numbers: type = np.float32
    ) -> None:
        super().__init__(spec, [None] * num_streams)
        check_scale(network.scale, spec)
        self.network = network
        self.numbers = numbers
        self.device = device
        self.padding = padding(network, spec)
        source, target = spec.source, spec.target
        offsets = siting_offsets(spec.colour.siting, source.chroma_ratios)
        self.upsamplers = [chroma_upsampler(*axis) for axis in zip(source.chroma_ratios, offsets, strict=True)]
        offsets = siting_offsets(spec.colour.siting, target.chroma_ratios)
        self.downsamplers = [chroma_downsampler(*axis) for axis in zip(target.chroma_ratios, offsets, strict=True)]

    @torch.inference_mode()
    def _run(self, slot: None, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        count = len(self.spec.source.shapes)
        pictures = [
            self.to_rgb(planes[i : i + count]).contiguous(memory_format=torch.channels_last) for i in range(0, len(planes), count)
        ]
        rgb = self.network(*pictures)
        for plane, result in zip(out, self.from_rgb(rgb), strict=True):
            plane[...] = result.cpu().numpy()

    def to_rgb(self, planes: Sequence[Plane]) -> Tensor:
        """(1, 3, H + 2 * padding, W + 2 * padding), in ``numbers``."""
        source = self.spec.source
        values = []
        for plane, group in zip(planes, source.planes, strict=True):
            scale, offset = sample_scale(group, self.spec.colour)
            samples = torch.from_numpy(plane.astype(self.numbers)).to(self.device)[None, None]
            rows, columns = (self.padding // ratio for ratio in group.ratios)
            values.append(F.pad((samples - offset) / scale, (columns, columns, rows, rows), mode="replicate"))
        if source.family == "GRAY":
            return values[0].expand(-1, 3, -1, -1)
        if source.family == "RGB":
            return torch.cat(values, 1)
        luma, *chroma = values
        for axis, resampler in enumerate(self.upsamplers):
            chroma = [upsample(plane, resampler, axis) for plane in chroma]
        return apply_matrix(yuv_to_rgb(self.spec.colour.matrix), torch.cat([luma, *chroma], 1))

    def from_rgb(self, rgb: Tensor) -> list[Tensor]:
        """The planes of the target, cropped; integers as rounded and clamped floats."""
        target = self.spec.target
        if target.family != "RGB":
            weights = rgb_to_yuv(self.spec.colour.matrix)
            rgb = apply_matrix(weights[:1] if target.family == "GRAY" else weights, rgb)
        values = list(torch.split(rgb, 1, 1))
        if target.family == "YUV":
            for axis, (resampler, ratio) in enumerate(zip(self.downsamplers, target.chroma_ratios, strict=True)):
                values[1:] = [downsample(plane, resampler, ratio, axis) for plane in values[1:]]
        planes = []
        for value, group in zip(values, target.planes, strict=True):
            (scale, offset), (height, width) = sample_scale(group, self.spec.colour), group.shape
            rows, columns = (value.shape[2] - height) // 2, (value.shape[3] - width) // 2
            samples = value[0, 0, rows : rows + height, columns : columns + width] * scale + offset
            if not target.is_float:
                samples = samples.round().clamp(0, (1 << target.bits) - 1)
            planes.append(samples)
        return planes


def apply_matrix(matrix: NDArray[np.float64], planes: Tensor) -> Tensor:
    """A (rows, channels) matrix over the channels of (1, channels, H, W)."""
    return F.conv2d(planes, torch.from_numpy(matrix).to(planes)[:, :, None, None])


def upsample(plane: Tensor, resampler: Resampler, axis: int) -> Tensor:
    """Make (1, 1, H, W) larger along the rows' axis (0) or the columns' (1)."""
    # (1, phases, H, W): the phases become neighbours along the axis.
    return _filter(plane, resampler, 1, axis).movedim(1, axis + 2).flatten(axis + 1, axis + 2)[None]


def downsample(plane: Tensor, resampler: Resampler, ratio: int, axis: int) -> Tensor:
    """Make (1, 1, H, W) smaller along the rows' axis (0) or the columns' (1)."""
    return _filter(plane, resampler, ratio, axis)


def _filter(plane: Tensor, resampler: Resampler, stride: int, axis: int) -> Tensor:
    """All phases of a resampler as channels, one output for ``stride`` inputs, edges replicated."""
    dim = axis + 2
    n, length = resampler.taps.shape[1], plane.shape[dim]
    before, after = max(0, -resampler.first), max(0, resampler.first + n - 1)
    padded = F.pad(plane, (0, 0, before, after) if axis == 0 else (before, after, 0, 0), mode="replicate")
    start = before + resampler.first
    shape = (-1, 1, n, 1) if axis == 0 else (-1, 1, 1, n)
    weight = torch.from_numpy(resampler.taps).to(plane).reshape(shape)
    steps = (stride, 1) if axis == 0 else (1, stride)
    return F.conv2d(padded.narrow(dim, start, padded.shape[dim] - start), weight, stride=steps).narrow(dim, 0, length // stride)
