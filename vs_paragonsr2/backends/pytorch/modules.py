"""Programs as modules of PyTorch: without data-dependent control flow, so that every exporter and compiler can follow."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...program.colour import ClipSpec, PlaneFormat
from ...program.fold import fold
from ...program.geometry import place
from ...program.parts import NetworkParts
from ...program.program import Program
from ...support.errors import ParagonSR2Error
from .steps import PlanesStep, RoundStep, step_of

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


class ProgramModule(nn.Module):
    """The planes of a frame of the source to those of the target.

    ``forward`` takes one tensor (1, 1, height, width) a plane of ``spec.inputs`` and returns a tuple of the like for the target.
    Their dtypes are :func:`storage_dtype` of the formats: uint8 for 8 bits; int16 for 9 to 16 bits, the very bits of the frame's
    unsigned samples (``view(np.int16)``), so that nothing is copied and no runtime has to know uint16; half and float as they are.

    Args:
        program: for whole pictures or tiles; not in bands.
        dtype: of features: float32, float16 or bfloat16. Samples, which decide the lower bits, are float32 always; with float64
            everything is float64.
        padded: whether the planes come with the margin that the program needs. Otherwise their edges are repeated in here.

    Attributes:
        geometry: how much is made of each value; ``geometry.input_shapes`` are the shapes of the planes that come.

    Raises:
        ParagonSR2Error: ``dtype`` is none of the above, or the program has an operation that only runtimes of bands have.
    """

    def __init__(self, program: Program, *, dtype: torch.dtype = torch.float32, padded: bool = False) -> None:
        super().__init__()
        if dtype not in DTYPES:
            raise ParagonSR2Error(f"dtype is {dtype}: expected torch.float32, float16, bfloat16 or float64")
        self.program = program
        self.spec = program.spec
        self.wide = torch.float64 if dtype is torch.float64 else torch.float32
        self.geometry = place(program, padded=padded, zero_padded=(True, True))
        number = {operation: index for index, operation in enumerate(program.operations)}
        self.sources = [[number[source] for source in operation.sources] for operation in program.operations]
        self.outputs = [number[output] for output in program.outputs]
        self.forgotten = _forgotten(self.sources, self.outputs)
        self.steps = nn.ModuleList(
            step_of(operation, self.geometry, self.wide if operation.holds_samples else dtype) for operation in program.operations
        )
        self.requires_grad_(False).eval()

    def forward(self, *planes: Tensor) -> tuple[Tensor, ...]:
        # Planes that come out of one convolution are taken apart last, when they are narrow.
        return tuple(plane for group in self.groups(self.samples(planes)) for plane in narrow(group, self.spec.target).split(1, 1))

    def samples(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """The planes that ``forward`` takes as numbers."""
        return [widen(plane, group.format, self.wide) for plane, group in zip(planes, self.spec.input_planes, strict=True)]

    def groups(self, planes: Sequence[Tensor], *, rounds: bool = True) -> list[Tensor]:
        """From samples as numbers to the same of the target, those planes that have one size in one tensor: (1, planes, H, W) each.

        Without ``rounds`` integers are neither rounded nor clamped.
        """
        values: list[Tensor | None] = []
        for step, sources, forgotten in zip(self.steps, self.sources, self.forgotten, strict=True):
            if isinstance(step, PlanesStep):
                values.append(step(*(planes[index] for index in step.indices)))
            elif isinstance(step, RoundStep) and not rounds:
                values.append(values[sources[0]])
            else:
                values.append(step(*(values[source] for source in sources)))
            for index in forgotten:
                values[index] = None
        found = [values[output] for output in self.outputs]
        return [group for group in found if group is not None]


def program_for(network: NetworkParts, spec: ClipSpec, dtype: torch.dtype) -> Program:
    """The program whose numbers suit features of a dtype.

    Raw samples save a pass over the planes. But bfloat16 keeps one more digit of samples about zero; and float16 has too few small
    numbers for weights that are divided by the range of samples, and none for 65,535: so the tails count in steps of 8-bit samples.
    """
    coarse = dtype in (torch.float16, torch.bfloat16)
    unit = float(1 << (spec.target.bits - 8)) if coarse and not spec.target.is_float else 1.0
    return fold(network, spec, centred=coarse, detail_unit=unit)


def storage_dtype(fmt: PlaneFormat) -> torch.dtype:
    """What a module takes or gives for samples of a format."""
    if fmt.is_float:
        return torch.float16 if fmt.bits == 16 else torch.float32
    return torch.uint8 if fmt.bits == 8 else torch.int16


def widen(plane: Tensor, fmt: PlaneFormat, wide: torch.dtype) -> Tensor:
    """Samples as they lie in memory, in :func:`storage_dtype`, as numbers."""
    samples = plane.to(wide)
    if not fmt.is_float and fmt.bits == 16:
        samples = torch.where(samples < 0, samples + 65536, samples)
    return samples


def narrow(samples: Tensor, fmt: PlaneFormat) -> Tensor:
    """Rounded and clamped numbers as samples in :func:`storage_dtype`."""
    if not fmt.is_float and fmt.bits == 16:
        # Not left to the cast: what one does with numbers out of its range differs from runtime to runtime.
        samples = torch.where(samples > 32767, samples - 65536, samples)
    return samples.to(storage_dtype(fmt))


def _forgotten(sources: Sequence[Sequence[int]], outputs: Sequence[int]) -> list[list[int]]:
    """For each step the values that nothing needs after it, whose memory others can have."""
    last: dict[int, int] = {}
    for step, used in enumerate(sources):
        last |= dict.fromkeys(used, step)
    return [[value for value in set(used) if last[value] == step and value not in outputs] for step, used in enumerate(sources)]
