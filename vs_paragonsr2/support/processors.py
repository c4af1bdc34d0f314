"""The processor cores that there are for this process, and what they are good at."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def processors() -> set[int]:
    """The numbers of the logical processors that this process may use; at least one."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def cores() -> int:
    """Physical cores among the processors that this process may use, and no more than its control group's quota; at least 1.

    Away from Linux, where nothing says what a core is, they are the logical processors.
    """
    return cores_among(processors(), Path("/"))


def cores_among(processors: set[int], root: Path) -> int:
    """The same for processors by number, from what Linux says under ``/sys`` and ``/proc`` of a root folder."""
    topology = root / "sys/devices/system/cpu"
    # Two threads of a core share its arithmetic units, which is what these networks wait for.
    physical = {_first_line(topology / f"cpu{number}/topology/core_cpus_list") or number for number in processors}
    return max(1, min([len(physical), *_quotas(root)]))


def gains_by_bf16(root: Path) -> bool:
    """Whether the processor multiplies bfloat16 faster than float32, from what Linux says under a root folder; else False.

    That is by AMX, or by the AVX512_BF16 of others than Intel's, whose instruction takes the time of two. (Measured on one core,
    Zen 4: twice float32's rate, and the network 1.8 times as fast. Emerald Rapids without AMX, as virtual machines have it: half
    float32's rate, and the network 0.75 times.)
    """
    words = {word for line in _lines(root / "proc/cpuinfo") for word in line.split()}
    return "amx_bf16" in words or ("avx512_bf16" in words and "GenuineIntel" not in words)


def _quotas(root: Path) -> Iterator[int]:
    """Whole processors that each control group (version 2) about the process grants, where one is limited."""
    own = next((line[4:] for line in _lines(root / "proc/self/cgroup") if line.startswith("0::/")), "")
    group = Path("sys/fs/cgroup", own)
    for folder in (group, *group.parents[:-2]):
        match _first_line(root / folder / "cpu.max").split():
            case [quota, period] if quota != "max":
                yield math.floor(int(quota) / int(period))


def _lines(path: Path) -> list[str]:
    """Of a file; none where it cannot be read."""
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _first_line(path: Path) -> str:
    return next(iter(_lines(path)), "")
