"""Programs as one TensorRT engine each, built by Torch-TensorRT and kept on disk.

``torch-tensorrt`` and ``torch-tensorrt-rtx`` (TensorRT for RTX, the engine of consumer cards) are one Python package for two
runtimes; whichever is installed is taken. While an engine is built, PyTorch serves (:mod:`..pytorch`).
"""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from ...checkpoints.load import parts_of
from ...program.tiling import tile_spec
from ...support.cache import entry_path, keep, load_kept, load_or_make
from ..base import Request, check_scale
from ..pytorch import TorchOptions
from ..pytorch.devices import driver_version, memory_errors, queue_on, torch_devices
from ..pytorch.modules import ProgramModule, program_for
from ..pytorch.session import PRECISIONS, alignment, finite_check, sizes_of, with_exact
from ..pytorch.session import open_session as open_pytorch
from ..pytorch.slots import FrameSlot, TorchSession, open_fitting, slot_devices
from ..switch import SwitchingSession
from ..tiles import Layout
from .engines import SETTINGS, Engine, EngineError, EngineModule, Runtime, build_engine, installed_runtime

if find_spec("torch_tensorrt") is None:
    raise ImportError("torch_tensorrt is not installed; the extras 'tensorrt' and 'tensorrt-rtx' bring it")


CODE = tuple(
    f"vs_paragonsr2.{package}" for package in ("backends.pytorch", "backends.tensorrt", "checkpoints", "network", "program")
)
"""The code that decides what an engine is."""


def open_session(request: Request[TorchOptions]) -> SwitchingSession:
    """Take the engine from the disk, or let PyTorch serve until it is built. Raises ParagonSR2Error for an absent device."""
    options = request.options
    devices = torch_devices(request.device, options.device_index)
    runtime = installed_runtime()
    precision = options.precision or "f16"
    build = partial(open_engines, request, devices, precision, runtime)
    network = parts_of(request.model.path, request.model.sha256, request.alpha)
    largest = next(sizes_of(request.spec, network, options.tile_size or (0, 0)))
    paths = [engine_path(request, largest, precision, runtime, device) for device in devices]
    if options.wait or all(load_kept(path, bytes) is not None for path in paths):
        session = with_exact(build(), request, devices)
        session.notes.append(runtime.name)
        return session
    session = open_pytorch(request)
    session.build_meanwhile(build, runtime.name)
    return session


def open_engines(request: Request[TorchOptions], devices: Sequence[torch.device], precision: str, runtime: Runtime) -> TorchSession:
    """The session with an engine on each device, from the disk or new, with tiles as large as the memory allows."""
    options = request.options
    network = parts_of(request.model.path, request.model.sha256, request.alpha)
    check_scale(network.scale, request.spec)

    def build(size: tuple[int, int]) -> TorchSession:
        dtype = PRECISIONS[precision]
        module = ProgramModule(program_for(network, tile_spec(request.spec, size), dtype), dtype=dtype, padded=True)
        layout = Layout(request.spec, size, module.geometry.source_margin, alignment(module.program))
        modules, engines = {}, {}
        paths = {device: engine_path(request, size, precision, runtime, device) for device in devices}
        with memory_errors():
            for device, path in paths.items():
                modules[device] = EngineModule(module, device)
                engines[device] = load_engine(path, modules[device], runtime)

        def make(device: torch.device) -> FrameSlot:
            return FrameSlot(queue_on(device), layout, engines[device].program())

        session = TorchSession(
            layout,
            make,
            slot_devices(devices, request.num_streams),
            check=None if precision == "f32" else finite_check({device: module.module for device, module in modules.items()}),
            memory_limit=options.memory_limit,
        )
        for device, path in paths.items():
            if (kernels := engines[device].new_kernels()) is not None:
                keep(kernels_path(path), kernels)
        return session

    return open_fitting(sizes_of(request.spec, network, options.tile_size or (0, 0)), build, options.memory_limit)


def engine_path(
    request: Request[TorchOptions], size: tuple[int, int], precision: str, runtime: Runtime, device: torch.device
) -> Path:
    """The file of the engine for tiles of a size. Its name holds all that decides what the engine is, and whether it runs."""
    card = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device), driver_version()
    versions = torch.__version__, torch.version.cuda, runtime.package, runtime.package_version, runtime.version
    what = request.model.sha256, request.alpha, tile_spec(request.spec, size), precision
    return entry_path("engine", card, versions, sorted(SETTINGS.items()), what, code=CODE)


def load_engine(path: Path, module: EngineModule, runtime: Runtime) -> Engine:
    """The engine of an entry, which is made where it is missing or damaged, and made again where the runtime refuses it."""

    def make() -> tuple[bytes, bytes]:
        data = build_engine(module)
        return data, data

    kernels = load_kept(kernels_path(path), bytes)
    try:
        return Engine(load_or_make(path, bytes, make), module, runtime, kernels)
    except EngineError:
        path.unlink(missing_ok=True)
    return Engine(load_or_make(path, bytes, make), module, runtime, kernels)


def kernels_path(path: Path) -> Path:
    """The file in which the kernels are kept that were compiled for an engine's card."""
    return entry_path("kernels", path.name, code=CODE)
