"""The folded graph as a model of OpenVINO's. This alone of the backend needs PyTorch."""

import logging
from functools import reduce

import openvino as ov
import torch
from openvino import opset15 as opset
from openvino.passes import MakeStateful, Manager
from torch import nn

from ..bands import BandGraph, band_rows
from ..checkpoint import load_network
from ..errors import ParagonSR2Error
from ..graph import PlanesGraph, seam_dtype
from ..network import LegacyParagonSR2
from ..tiling import check_side, unit
from .base import Request, check_scale
from .planes import plane_shapes

BAND_ROWS = 32
"""Luma rows of a band at most: what a layer writes is still in the processor's cache when the next one reads it."""

LEGACY_BAND_ROWS = 128
"""The same for versions 7 and 8, whose deep stages compute their rims again for every band."""


def convert(request: Request, precision: str) -> tuple[ov.Model, tuple[int, ...]]:
    """The graph for one band, whose outputs are cells as :class:`BandGraph` gives them, and its geometry.

    That is the rows of a band, the bands to run before the first one, and the rows above and below and the columns left and right
    that come with a band, all in luma samples. A network that sees the whole picture has one band.

    Raises:
        ParagonSR2Error: the checkpoint is bad, or the model is a Pro.
    """
    network, spec = load_network(request.model.path, alpha=request.options.alpha), request.spec
    check_scale(network.scale, spec)
    if network.window is None:
        most = LEGACY_BAND_ROWS if isinstance(network, LegacyParagonSR2) else BAND_ROWS
        if asked := request.options.tile_size[0]:
            check_side("high", asked, unit(spec)[0])
            most = min(most, asked)
        bands = BandGraph(network, spec, band_rows(spec, most), centred=precision != "f32")
        graph: nn.Module = bands
        geometry = (bands.spec.source.height, bands.priming, bands.before[0], bands.after[0], bands.before[1], bands.after[1])
        kept = bands.kept_shapes
    elif network.variant == "pro":
        raise ParagonSR2Error("backend is 'openvino', which takes many minutes to compile a Pro model: expected 'reference'")
    else:
        graph = whole = PixelCells(network, spec, padded=True)
        (rows, columns), kept = whole.halo, []
        geometry = (spec.source.height, 0, rows, rows, columns, columns)
    rows, _, above, below, left, right = geometry
    example = [
        torch.zeros(1, 1, *shape, dtype=seam_dtype(fmt))
        for fmt in spec.inputs
        for shape in plane_shapes(fmt, rows + above + below, spec.source.width + left + right)
    ]
    example += [torch.zeros(shape) for shape in kept]
    with torch.no_grad():
        program = torch.export.export(graph, tuple(example), strict=True)
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it tells everybody, with stack traces, which decompositions PyTorch has given up
        try:
            model = ov.convert_model(program, input=[tuple(tensor.shape) for tensor in example])
        finally:
            logging.disable(before)
    _keep_inside(model, len(kept))
    if precision == "f16":  # bf16 reaches as far as f32
        _watch(model)
    if precision == "bf16":
        approximate_gelu(model)
    return model, geometry


class PixelCells(PlanesGraph):
    """PlanesGraph with planes as cells of one pixel."""

    def forward(self, *planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(plane.permute(0, 2, 3, 1) for plane in super().forward(*planes))


def _keep_inside(model: ov.Model, count: int) -> None:
    """Make the last inputs and outputs variables of the inference request, which stay with it from band to band."""
    pairs = {}
    for i, (given, left) in enumerate(zip(model.inputs[-count:], model.outputs[-count:], strict=True) if count else ()):
        given.get_tensor().set_names({f"kept{i}"})
        left.get_tensor().set_names({f"left{i}"})
        pairs[f"kept{i}"] = f"left{i}"
    if pairs:
        manager = Manager()
        manager.register_pass(MakeStateful(pairs))
        manager.run_passes(model)


def _watch(model: ov.Model) -> None:
    """Add an output behind the planes': 0, or no number where a sample is not finite. Once samples are rounded, nobody can tell."""
    rounded = [op for op in model.get_ops() if op.get_type_name() == "Round"]
    flags = []
    for op in rounded or model.get_results():
        samples = op.input_value(0)
        nothing = opset.multiply(samples, opset.constant(0, samples.get_element_type()))
        flags.append(opset.reduce_sum(nothing, [0, 1, 2, 3]))
    model.add_results([opset.result(reduce(opset.add, flags))])


GELU_SPAN = 3.41
"""Where :func:`approximate_gelu` takes GELU for 0 or x."""
GELU_TERMS = (0.39423, -0.059754, 0.0066956, -0.00041322)
"""Of its polynomial, for the least error; one more makes it reach 1/2 at ``GELU_SPAN``."""


def approximate_gelu(model: ov.Model) -> None:
    """Put x (1/2 + u p(u^2)), u = x cut off at +-``GELU_SPAN``, in the place of each GELU: 0.0011 off at most.

    That is bfloat16's own rounding of numbers about 0.5. (Measured for 32 channels of a pixel on one core with AVX512_BF16:
    OpenVINO's GELU adds 11.5 ns to the 7.7 of the depthwise convolution that it is part of; this, in a pass of its own, takes 7.5.)
    """
    reached = sum(term * GELU_SPAN ** (2 * i) for i, term in enumerate(GELU_TERMS))
    last = (0.5 / GELU_SPAN - reached) / GELU_SPAN ** (2 * len(GELU_TERMS))

    def number(value: float) -> ov.Node:
        return opset.constant(value, ov.Type.f32)

    for op in model.get_ops():
        if op.get_type_name() == "Gelu":
            x = op.input_value(0)
            u = opset.clamp(x, -GELU_SPAN, GELU_SPAN)
            square, p = opset.multiply(u, u), number(last)
            for term in reversed(GELU_TERMS):
                p = opset.add(opset.multiply(p, square), number(term))
            op.output(0).replace(opset.multiply(x, opset.add(opset.multiply(u, p), number(0.5))).output(0))
