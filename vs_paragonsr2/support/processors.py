"""The processor cores that there are for this process, and what they are good at.

On Linux ``/sys`` and ``/proc`` tell. Windows and macOS are asked for their physical cores through functions of the system, which
are written after the makers' documentation and have never been run there. Elsewhere every logical processor counts as a core.
"""

import ctypes
import math
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

RELATION_PROCESSOR_CORE = 0
"""Windows' number for the question which logical processors share a core."""


def processors() -> set[int]:
    """The numbers of the logical processors that this process may use; at least one.

    Where the system has no affinities to ask for, as macOS, those are all processors of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    count = getattr(os, "process_cpu_count", os.cpu_count)  # since Python 3.13, of this process
    return set(range(count() or 1))


def cores() -> int:
    """Physical cores among the processors that this process may use, and no more than its control group's quota; at least 1.

    Windows and macOS name the physical cores of the whole machine, of which no more count than there are processors to use. Where
    nothing says what a core is, they are the logical processors.
    """
    usable = processors()
    if sys.platform in ("win32", "darwin"):
        return max(1, min(len(usable), _physical_cores() or len(usable)))
    return cores_among(usable, Path("/"))


def cores_among(processors: set[int], root: Path) -> int:
    """The same for processors by number, from what Linux says under ``/sys`` and ``/proc`` of the folder ``root``."""
    topology = root / "sys/devices/system/cpu"
    # Two threads of a core share its arithmetic units, which is what these networks wait for.
    physical = {_first_line(topology / f"cpu{number}/topology/core_cpus_list") or number for number in processors}
    return max(1, min([len(physical), *_quotas(root)]))


def gains_by_bf16(root: Path) -> bool:
    """Whether the processor multiplies bfloat16 faster than float32, from what Linux says under the folder ``root``.

    That is so with AMX, and with the AVX512_BF16 of other makers than Intel, whose instruction takes the time of two. (Measured on
    one core. Zen 4: twice float32's rate, and the network 1.8 times as fast. Emerald Rapids without AMX, as virtual machines have
    it: half float32's rate, and the network 0.75 times as fast.) Other systems do not say, and the answer is False.
    """
    words = {word for line in _lines(root / "proc/cpuinfo") for word in line.split()}
    return "amx_bf16" in words or ("avx512_bf16" in words and "GenuineIntel" not in words)


def count_records(answer: bytes) -> int:
    """How many records Windows' GetLogicalProcessorInformationEx has written; each has its size, in bytes, after four others."""
    count = place = 0
    while place + 8 <= len(answer):
        (size,) = struct.unpack_from("<I", answer, place + 4)
        if size < 8:
            break
        count += 1
        place += size
    return count


if sys.platform == "win32":

    def _physical_cores() -> int:
        """Physical cores of the machine; 0 where Windows does not say."""
        ask = ctypes.WinDLL("kernel32").GetLogicalProcessorInformationEx
        size = ctypes.c_uint32()
        ask(RELATION_PROCESSOR_CORE, None, ctypes.byref(size))  # fails, and says how much it would write
        answer = ctypes.create_string_buffer(size.value)
        return count_records(answer.raw) if ask(RELATION_PROCESSOR_CORE, answer, ctypes.byref(size)) else 0

else:

    def _physical_cores() -> int:
        """Physical cores of the machine; 0 where the system has no sysctl for it."""
        sysctl = getattr(ctypes.CDLL(None), "sysctlbyname", None)
        count = ctypes.c_int32()
        size = ctypes.c_size_t(ctypes.sizeof(count))
        failed = sysctl is None or sysctl(b"hw.physicalcpu", ctypes.byref(count), ctypes.byref(size), None, ctypes.c_size_t(0))
        return 0 if failed else count.value


def _quotas(root: Path) -> Iterator[int]:
    """Whole processors that each control group (version 2) around the process grants, as far as it is limited."""
    own = next((line[4:] for line in _lines(root / "proc/self/cgroup") if line.startswith("0::/")), "")
    group = Path("sys/fs/cgroup", own)
    for folder in (group, *group.parents[:-2]):
        match _first_line(root / folder / "cpu.max").split():
            case [quota, period] if quota != "max":
                yield math.floor(int(quota) / int(period))


def _lines(path: Path) -> list[str]:
    """The lines of a file; none where it cannot be read."""
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _first_line(path: Path) -> str:
    return next(iter(_lines(path)), "")
