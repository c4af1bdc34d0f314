"""Programs in PyTorch, on CUDA devices: what runs at once, everywhere, and serves while faster engines are built.

On a CPU, which has to be asked for, it is the same without a recording.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import lcm
from typing import cast

import torch
from torch import Tensor

from ...checkpoints.load import parts_of
from ...program.colour import ClipSpec
from ...program.fold import fold
from ...program.parts import NetworkParts
from ...program.program import Program
from ...program.tiling import tile_size, tile_spec, unit
from ..base import Request, check_scale
from ..switch import SwitchingSession
from ..tiles import Layout
from . import TorchOptions
from .devices import CUDAQueue, is_lost, is_out_of_memory, memory_errors, queue_on, torch_devices
from .modules import ProgramModule, program_for
from .slots import Check, FrameSlot, TileProgram, TorchSession, open_fitting, slot_devices, smaller_sizes

PRECISIONS = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
"""The dtype of the learned path by the word for it, which ``Backend.settle`` has checked."""


def open_session(request: Request[TorchOptions]) -> SwitchingSession:
    """Fold the network for one kind of clip and record it on the devices. Raises ParagonSR2Error for an absent device."""
    devices = torch_devices(request.device, request.options.device_index)
    precision = request.options.precision or ("f16" if devices[0].type == "cuda" else "f32")
    return with_exact(open_in_precision(request, devices, precision), request, devices)


def with_exact(first: TorchSession, request: Request[TorchOptions], devices: Sequence[torch.device]) -> SwitchingSession:
    """A session whose place one in float32 takes if half precision fails."""
    return SwitchingSession(first, len(first.slots), lambda: open_in_precision(request, devices, "f32"))


def open_in_precision(request: Request[TorchOptions], devices: Sequence[torch.device], precision: str) -> TorchSession:
    """The session in one precision, with tiles as large as the memory allows."""
    options = request.options
    dtype = PRECISIONS[precision]
    network = parts_of(request.model.path, request.model.sha256, request.alpha)
    check_scale(network.scale, request.spec)

    def build(size: tuple[int, int]) -> TorchSession:
        module = ProgramModule(program_for(network, tile_spec(request.spec, size), dtype), dtype=dtype, padded=True)
        layout = Layout(request.spec, size, module.geometry.source_margin, alignment(module.program))
        notes: list[str] = []
        with memory_errors():
            form = fastest_form(module, layout, devices[0], options.torch_compile, notes)
            modules = {device: form.on(module, device) for device in devices}
            programs = {device: form.program(module) for device, module in modules.items()}

        def make(device: torch.device) -> FrameSlot:
            return FrameSlot(queue_on(device), layout, programs[device])

        session = TorchSession(
            layout,
            make,
            slot_devices(devices, request.num_streams),
            check=None if dtype is torch.float32 else finite_check(modules),
            memory_limit=options.memory_limit,
        )
        session.notes.extend(notes)
        return session

    return open_fitting(sizes_of(request.spec, network, options.tile_size or (0, 0)), build, options.memory_limit)


def sizes_of(spec: ClipSpec, network: NetworkParts, most: tuple[int, int] = (0, 0)) -> Iterator[tuple[int, int]]:
    """(rows, columns) of tiles to try: those that :func:`tile_size` finds for the most, then less and less."""
    align = alignment(fold(network, spec))
    return smaller_sizes(tile_size(spec, most, align), align)


def alignment(program: Program) -> tuple[int, int]:
    """(rows, columns) of which the places of tiles are multiples: attention windows of a tile are windows of the picture.

    They are approximate all the same: through windows that are shifted and channel attention an output of Photo or Pro sees the
    whole picture. (Measured by ``scripts/benchmark.py tile_loss`` with random weights, tiles of 96x96 of 192x192: luma PSNR 69 dB
    from the whole for Photo, 48 dB for Pro.)
    """
    rows, columns = unit(program.spec)
    return lcm(rows, *program.windows), lcm(columns, *program.windows)


def finite_check(modules: Mapping[torch.device, ProgramModule]) -> Check:
    """Whether a tile's samples are finite before they are rounded: afterwards nobody can tell what overflowed."""

    def check(planes: Sequence[Tensor]) -> bool:
        module = modules[planes[0].device]
        sums = module.groups(module.samples(planes), rounds=False)
        return all(bool(samples.isfinite().all()) for samples in sums)

    return check


@dataclass(frozen=True, slots=True)
class Form:
    """How a module is laid out and run; the picture is the same."""

    channels_last: bool = False
    compiled: bool = False

    def on(self, module: ProgramModule, device: torch.device) -> ProgramModule:
        """A copy of the module on a device."""
        module = deepcopy(module)
        # On the host, where it is done at once: slots do not wait for what is under way on the device's own stream.
        return (module.to(memory_format=torch.channels_last) if self.channels_last else module).to(device)

    def program(self, module: ProgramModule) -> TileProgram:
        """The program that runs a module in this form."""
        return cast(TileProgram, torch.compile(module, dynamic=False)) if self.compiled else module


def fastest_form(module: ProgramModule, layout: Layout, device: torch.device, tries_compiler: bool, notes: list[str]) -> Form:
    """The form that takes a frame the least time on this very device. On a CPU, the plain one, untried.

    PyTorch's compiler needs more than PyTorch brings, as a C compiler: where it fails, ``notes`` gets a line about it.
    """
    if device.type != "cuda":
        return Form(compiled=tries_compiler)
    forms = [Form(channels_last, compiled) for compiled in (False, tries_compiler) for channels_last in (False, True)]
    times = {}
    for form in dict.fromkeys(forms):
        try:
            times[form] = _milliseconds(form, module, layout, device)
        except Exception as error:
            if not form.compiled or is_out_of_memory(error) or is_lost(error):
                raise
            first = next(iter(str(error).splitlines()), "")[:200]
            notes.append(f"PyTorch's compiler is not taken: {type(error).__name__}: {first}")
    return min(times, key=times.__getitem__)


def _milliseconds(form: Form, module: ProgramModule, layout: Layout, device: torch.device) -> float:
    queue = CUDAQueue(device)
    FrameSlot(queue, layout, form.program(form.on(module, device)))
    return queue.milliseconds()
