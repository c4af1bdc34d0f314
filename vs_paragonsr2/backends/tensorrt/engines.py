"""Engines of TensorRT: from a program to a file's bytes by Torch-TensorRT, and from those to a program on a card."""

import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from ...program.colour import PlaneFormat
from ...support.errors import ParagonSR2Error
from ..pytorch.devices import UNDISTURBED, DeviceMemoryError
from ..pytorch.modules import ProgramModule, narrow, storage_dtype, widen

SETTINGS: dict[str, Any] = {
    # Nothing is left to PyTorch, and every number has the type that the program gives it: half in the body, single in the sums.
    "require_full_compilation": True,
    "min_block_size": 1,
    "truncate_double": False,
    "disable_tf32": True,
    "immutable_weights": True,
}
"""The settings that engines are built with, in Torch-TensorRT's names."""

PACKAGES = {"torch-tensorrt-rtx": "tensorrt_rtx", "torch-tensorrt": "tensorrt"}
"""Distributions of Torch-TensorRT, and the runtime that each builds for."""


class EngineError(ParagonSR2Error):
    """An engine that cannot be used here, though another one might."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What engines are built with and run on."""

    package: str
    """Distribution of Torch-TensorRT."""
    package_version: str
    module: str
    """The Python module of the runtime."""
    version: str

    @property
    def name(self) -> str:
        """The runtime's name and versions, for users."""
        kind = "TensorRT for RTX" if self.module == "tensorrt_rtx" else "TensorRT"
        return f"{kind} {self.version} ({self.package} {self.package_version})"


def installed_runtime() -> Runtime:
    """Raises ParagonSR2Error where Torch-TensorRT is not installed, or came without its runtime."""
    for package, module in PACKAGES.items():
        try:
            package_version = version(package)
        except PackageNotFoundError:
            continue
        try:
            return Runtime(package, package_version, module, str(import_module(module).__version__))
        except (ImportError, OSError) as error:
            raise ParagonSR2Error(
                f"backend is 'tensorrt': {package} is there, and its runtime {module} is not ({error})"
            ) from error
    raise ParagonSR2Error(f"backend is 'tensorrt': expected {' or '.join(PACKAGES)} to be installed")


class EngineModule(nn.Module):
    """A program between the casts that TensorRT does not know: it has no 16-bit integers, whose seams are float32 here.

    Args:
        module: of a padded tile; left as it is.
        device: where it is to run.
    """

    def __init__(self, module: ProgramModule, device: torch.device) -> None:
        super().__init__()
        self.module = deepcopy(module).to(device)
        self.device = device
        self.sources, self.target = [plane.format for plane in module.spec.input_planes], module.spec.target

    def forward(self, *planes: Tensor) -> tuple[Tensor, ...]:
        samples = [
            plane if storage_dtype(fmt) is torch.int16 else widen(plane, fmt, self.module.wide)
            for plane, fmt in zip(planes, self.sources, strict=True)
        ]
        found = [plane for group in self.module.groups(samples) for plane in group.split(1, 1)]
        if storage_dtype(self.target) is torch.int16:
            return tuple(found)
        # One plane after the other: TensorRT does not split uint8.
        return tuple(narrow(plane, self.target) for plane in found)

    def example(self) -> tuple[Tensor, ...]:
        """Planes of zeros, as ``forward`` takes them."""
        return tuple(
            torch.zeros(1, 1, *shape, dtype=engine_dtype(fmt), device=self.device)
            for shape, fmt in zip(self.source_shapes, self.sources, strict=True)
        )

    @property
    def source_shapes(self) -> list[tuple[int, int]]:
        """Height and width of the planes that ``forward`` takes."""
        return self.module.geometry.input_shapes


def engine_dtype(fmt: PlaneFormat) -> torch.dtype:
    """What an engine takes or gives for samples of a format."""
    dtype = storage_dtype(fmt)
    return torch.float32 if dtype is torch.int16 else dtype


def build_engine(module: EngineModule) -> bytes:
    """Compile the program into one engine, for the card of its device.

    Raises ParagonSR2Error where a part of it cannot be in the engine, or TensorRT makes none.
    """
    import torch_tensorrt

    register_cast()
    on_card = torch.cuda.device(module.device) if module.device.type == "cuda" else nullcontext()
    with UNDISTURBED, on_card, torch.no_grad(), _silence(), tempfile.TemporaryDirectory() as folder:
        try:
            program = torch.export.export(module, module.example(), strict=False)
            # By default this is in a folder that all users share, and a truncated one ends every build. Another size of a clip
            # shares no timing, so that there is nothing in it to keep.
            settings = {**SETTINGS, "timing_cache_path": f"{folder}/timing"}
            return bytes(
                torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
                    program, arg_inputs=list(module.example()), **settings
                )
            )
        except Exception as error:
            if "out of memory" in str(error).lower():
                raise DeviceMemoryError(str(error).splitlines()[0]) from error
            first = next(iter(str(error).splitlines()), "")[:200]
            raise ParagonSR2Error(f"Torch-TensorRT made no engine of the program ({type(error).__name__}: {first})") from error


@cache
def register_cast() -> None:
    """Teach Torch-TensorRT the last cast to uint8, which it would leave to PyTorch though TensorRT can do it."""
    from torch_tensorrt.dynamo._SourceIR import SourceIR
    from torch_tensorrt.dynamo.conversion import ConverterPriority, dynamo_tensorrt_converter, impl

    def is_to_uint8(node: torch.fx.Node, settings: object = None) -> bool:
        return node.kwargs.get("dtype") is torch.uint8

    def cast(ctx: Any, target: Any, args: Any, kwargs: Any, name: str) -> Any:
        return impl.cast.to_copy(ctx, target, SourceIR.ATEN, name, args[0], torch.uint8, force_layer=True)

    to_uint8 = {"capability_validator": is_to_uint8, "priority": ConverterPriority.HIGH}
    dynamo_tensorrt_converter(torch.ops.aten._to_copy.default, **to_uint8)(cast)


@contextmanager
def _silence() -> Iterator[None]:
    """Silence Torch-TensorRT, which logs a whole graph where something fails; what matters is in the error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class Engine:
    """An engine on a card, for any number of programs.

    TensorRT for RTX compiles the kernels for the card when a program is made, which takes seconds: all programs share them, and
    the next process may bring them along.

    Args:
        data: the engine.
        module: that it was built of.
        runtime: that it was built for.
        kernels: what :meth:`new_kernels` gave before, for the same engine and card.

    Raises:
        EngineError: the runtime refuses it, or it is for other planes than the module's.
    """

    def __init__(self, data: bytes, module: EngineModule, runtime: Runtime, kernels: bytes | None = None) -> None:
        self._trt = import_module(runtime.module)
        self.device = module.device
        self.sources, self.target = module.sources, module.target
        self._runtime = self._trt.Runtime(_logger(self._trt))
        self._config: Any = None
        self._kernels: Any = None
        self._are_new = False
        with UNDISTURBED, torch.cuda.device(module.device):
            self.engine = self._runtime.deserialize_cuda_engine(data)
            if self.engine is None:
                raise EngineError(f"{runtime.name} does not take the engine")
            if hasattr(self._trt, "IRuntimeCache"):
                self._config = self.engine.create_runtime_config()
                self._kernels = self._config.create_runtime_cache()
                self._are_new = not (kernels and self._kernels.deserialize(kernels))
                self._config.set_runtime_cache(self._kernels)
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        is_input = {name: self.engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT for name in names}
        self.inputs = sorted((name for name in names if is_input[name]), key=_natural)
        self.outputs = sorted((name for name in names if not is_input[name]), key=_natural)
        found = [tuple(self.engine.get_tensor_shape(name)) for name in (*self.inputs, *self.outputs)]
        shapes = [*module.source_shapes, *self.target.shapes]
        if found != [(1, 1, *shape) for shape in shapes]:
            raise EngineError(f"the engine is for planes of {found}: expected {shapes}")

    def program(self) -> "EngineProgram":
        """A program with an execution context of its own, so that it may run while others do."""
        return EngineProgram(self, self._config)

    def new_kernels(self) -> bytes | None:
        """The kernels that were compiled for the programs that have run; None where none were."""
        return bytes(self._kernels.serialize()) if self._kernels is not None and self._are_new else None


class EngineProgram:
    """An engine's execution context as a slot's program. Above 8 bits, samples are widened before it and narrowed behind it."""

    def __init__(self, engine: Engine, config: Any) -> None:
        self._engine = engine
        with UNDISTURBED, torch.cuda.device(engine.device):
            make = engine.engine.create_execution_context
            self._context = make() if config is None else make(config)
        if self._context is None:
            raise DeviceMemoryError("TensorRT made no execution context: out of memory")

    def __call__(self, *planes: Tensor) -> Sequence[Tensor]:
        engine = self._engine
        inputs = [
            aligned(widen(plane, fmt, torch.float32) if storage_dtype(fmt) is torch.int16 else plane)
            for plane, fmt in zip(planes, engine.sources, strict=True)
        ]
        dtype = engine_dtype(engine.target)
        outputs = [torch.empty(1, 1, *shape, dtype=dtype, device=engine.device) for shape in engine.target.shapes]
        for name, tensor in zip((*engine.inputs, *engine.outputs), (*inputs, *outputs), strict=True):
            self._context.set_tensor_address(name, tensor.data_ptr())
        stream = torch.cuda.current_stream(engine.device).cuda_stream
        # TensorRT for RTX knows beforehand, and a recording that breaks is the last one of the process.
        if hasattr(self._context, "is_stream_capturable") and not self._context.is_stream_capturable(stream):
            raise ParagonSR2Error("backend is 'tensorrt', which cannot record this engine in a CUDA graph: expected 'torch'")
        if not self._context.execute_async_v3(stream):
            raise RuntimeError("TensorRT refused to run the engine")
        if storage_dtype(engine.target) is torch.int16:
            return [narrow(plane, engine.target) for plane in outputs]
        return outputs


ALIGNMENT = 256
"""Bytes of which the addresses of TensorRT's tensors are multiples."""


def aligned(plane: Tensor) -> Tensor:
    """The plane where TensorRT takes it; that of a tile begins anywhere within a frame's."""
    plane = plane.contiguous()
    return plane if plane.data_ptr() % ALIGNMENT == 0 else plane.clone()


def _natural(name: str) -> list[int]:
    """The key by which tensors' names are sorted: the numbers in them."""
    return [int(number) for number in re.findall(r"\d+", name)]


@cache
def _logger(trt: Any) -> Any:
    """A logger for TensorRT, whose own one prints."""
    levels = {
        trt.ILogger.INTERNAL_ERROR: logging.CRITICAL,
        trt.ILogger.ERROR: logging.ERROR,
        trt.ILogger.WARNING: logging.WARNING,
    }

    class Log(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, message: str) -> None:
            logging.getLogger("vs_paragonsr2.tensorrt").log(levels.get(severity, logging.DEBUG), message)

    return Log()
