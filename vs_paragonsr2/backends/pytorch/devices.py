"""The devices of PyTorch, and queues on them: work that is recorded once and launched for every frame."""

import ctypes
import platform
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from ...support.errors import ParagonSR2Error
from ..options import Options

WARM_UPS = 3
"""How often work runs before it is recorded: libraries choose their kernels in the first runs."""

STREAMS = 32
"""The number of streams that PyTorch has for a device; whoever asks for more gets the same ones again in turn."""

UNDISTURBED = threading.RLock()
"""Held by whoever records, and by whoever may synchronise a whole device, as Torch-TensorRT does when it builds an engine: a
recording does not survive that, and PyTorch can record nothing more in the process after one that was broken.
"""

_RECORDING = threading.Lock()
"""Two recordings at once would mix up PyTorch's pools, which cannot be emptied meanwhile either."""

_CHOOSING = threading.Lock()

_TURNS: "weakref.WeakValueDictionary[int, threading.Lock]" = weakref.WeakValueDictionary()
"""A lock for each stream that a queue has."""


def torch_devices(device: str, indices: tuple[int, ...] = (0,)) -> list[torch.device]:
    """The devices of a kind, ``"cpu"`` or ``"cuda"``, by number. Raises ParagonSR2Error where one is not there."""
    kind = device.lower()
    if kind == "cpu":
        if indices != (0,):
            raise ParagonSR2Error(f"device_index is {_shown(indices)}: there is one CPU, number 0")
        return [torch.device("cpu")]
    if kind != "cuda":
        raise ParagonSR2Error(f"device is {device!r}: PyTorch has 'cpu' and 'cuda' here")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in indices:
        if index >= count:
            raise ParagonSR2Error(
                f"device is 'cuda' and device_index {index}, but PyTorch finds {count} CUDA devices here"
                + (", counted from 0" if count else "; device='cpu' works everywhere")
            )
    return [torch.device("cuda", index) for index in indices]


def device_names(options: Options) -> str:
    """What the makers call the devices of settled options, as cards' models. Raises ParagonSR2Error for an absent one."""
    devices = torch_devices(options.device or "cpu", options.device_index)
    return ", ".join(torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() for device in devices)


def _shown(indices: tuple[int, ...]) -> str:
    return str(indices[0] if len(indices) == 1 else indices)


class Queue(Protocol):
    """A queue on one device."""

    device: torch.device

    def host(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory of the host that the device reaches by itself. To be asked for before anything is recorded."""
        ...

    def record(self, work: Callable[[], None]) -> None:
        """Run ``work`` a few times, and keep what it does on the device. It must do the same to the same memory each time."""
        ...

    def launch(self) -> None:
        """Begin what was recorded, and return at once."""
        ...

    def wait(self) -> None:
        """Wait until what was launched is done, with Python's lock released."""
        ...

    def now[T](self, work: Callable[[], T]) -> T:
        """Run something else in the queue, once."""
        ...

    def milliseconds(self, runs: int = 10) -> float:
        """The time that the device takes for a launch, in milliseconds: the mean of ``runs`` in a row."""
        ...


class CPUQueue:
    """A queue on the CPU, where whoever launches the work does it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._work: Callable[[], None] | None = None

    def host(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype)

    @torch.inference_mode()
    def record(self, work: Callable[[], None]) -> None:
        work()
        self._work = work

    @torch.inference_mode()
    def launch(self) -> None:
        assert self._work is not None
        self._work()

    def wait(self) -> None:
        pass

    @torch.inference_mode()
    def now[T](self, work: Callable[[], T]) -> T:
        return work()

    def milliseconds(self, runs: int = 10) -> float:
        began = time.perf_counter()
        for _ in range(runs):
            self.launch()
        return (time.perf_counter() - began) / runs * 1000


def own_stream(device: torch.device) -> tuple[torch.cuda.Stream, threading.Lock]:
    """A stream that no queue has, or where all are taken one of those, and the lock that queues with it share."""
    with _CHOOSING:
        for _ in range(STREAMS + 1):  # where all are taken, not the same one each time
            stream = torch.cuda.Stream(device)
            if stream.cuda_stream not in _TURNS:
                break
        return stream, _TURNS.setdefault(stream.cuda_stream, threading.Lock())


class CUDAQueue:
    """A stream of its own with one CUDA graph, which has a memory pool of its own: any two queues may run at once."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        with torch.cuda.device(device):
            # Launched on a stream that another queue records on, a graph would become part of the recording.
            self.stream, self._turn = own_stream(device)
            # The thread sleeps rather than spins: it is VapourSynth's, and the other queues' copies want the processor.
            self._done = torch.cuda.Event(blocking=True)
        self._graph: torch.cuda.CUDAGraph | None = None

    def host(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        with torch.cuda.device(self.device):
            return torch.empty(shape, dtype=dtype, pin_memory=True)

    def record(self, work: Callable[[], None]) -> None:
        with UNDISTURBED, _RECORDING, self._here():
            for _ in range(WARM_UPS):
                work()
            self.stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Other queues' threads go on calling CUDA meanwhile: only this thread may not.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                work()
        self._graph = graph

    def launch(self) -> None:
        assert self._graph is not None
        with self._turn, torch.cuda.stream(self.stream):
            self._graph.replay()
            self._done.record(self.stream)

    def wait(self) -> None:
        self._done.synchronize()

    def now[T](self, work: Callable[[], T]) -> T:
        # Not while a recording is under way, which would be given the memory that is asked for here.
        with _RECORDING, self._here():
            result = work()
            self.stream.synchronize()
        return result

    def milliseconds(self, runs: int = 10) -> float:
        assert self._graph is not None
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with self._turn, torch.cuda.stream(self.stream):
            self._graph.replay()
            begin.record(self.stream)
            for _ in range(runs):
                self._graph.replay()
            end.record(self.stream)
            end.synchronize()
        return begin.elapsed_time(end) / runs

    @contextmanager
    def _here(self) -> Iterator[None]:
        """The queue's stream, and float32 that is float32: TF32 has ten bits of mantissa, too few for the base path."""
        # The fastest of cuDNN's kernels are found by trying all; a recording repeats what the warm-ups found.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False)
        with self._turn, torch.inference_mode(), torch.cuda.stream(self.stream), exact:
            yield


def queue_on(device: torch.device) -> Queue:
    """A new queue of the device's kind."""
    return CUDAQueue(device) if device.type == "cuda" else CPUQueue(device)


def used_bytes(device: torch.device) -> int:
    """The bytes of a device's memory that are taken, by whomever; 0 for the CPU."""
    if device.type != "cuda":
        return 0
    with _RECORDING:
        torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def give_back() -> None:
    """Return to the devices what PyTorch keeps of their memory without using it. Never waits: who records does so first anyway."""
    if _RECORDING.acquire(blocking=False):
        try:
            torch.cuda.empty_cache()
        finally:
            _RECORDING.release()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device has too little memory."""
    return isinstance(error, torch.OutOfMemoryError | DeviceMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )


def is_lost(error: BaseException) -> bool:
    """Whether an error is the driver's, after which nothing more runs on the device in this process."""
    return isinstance(error, RuntimeError) and bool(re.search("CUDA (driver )?error", str(error))) and not is_out_of_memory(error)


class DeviceMemoryError(Exception):
    """More memory than the device has, or than the options allow."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """What runtimes raise for too little memory, as DeviceMemoryError."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise DeviceMemoryError(str(error).splitlines()[0]) from error
        raise


def driver_version() -> str:
    """The version of NVIDIA's driver, as ``"580.65.06"``; "" where nothing says it."""
    try:
        nvml = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        found = ctypes.create_string_buffer(96)
        if nvml.nvmlInit_v2() == 0 and nvml.nvmlSystemGetDriverVersion(found, ctypes.c_uint(len(found))) == 0:
            return found.value.decode("ascii", "replace")
    except (OSError, AttributeError):
        pass
    return ""
