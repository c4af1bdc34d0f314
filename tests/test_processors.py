"""How many cores there are, and how many frames OpenVINO computes at once on them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import request_of
from plain import make_spec

import vs_paragonsr2.backends.openvino.session as openvino_session
from vs_paragonsr2.backends.openvino import BACKEND
from vs_paragonsr2.backends.openvino.session import OpenVINOSession
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.support.processors import cores, cores_among, gains_by_bf16

SAY = "from vs_paragonsr2.backends import load_backend; print(load_backend('openvino').default_streams('CPU'))"


def machine(root: Path, processors: int, threads: int = 1, quota: str = "", group: str = "/") -> int:
    """The cores of a machine that is not here, from the files with which Linux describes it."""
    for number in range(processors):
        folder = root / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        first = number // threads * threads
        (folder / "core_cpus_list").write_text(
            f"{first}-{first + threads - 1}\n" if threads > 1 else f"{number}\n", encoding="ascii"
        )
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"4:memory:/other\n0::{group}\n", encoding="ascii")
    limits = root / f"sys/fs/cgroup{group}"
    limits.mkdir(parents=True)
    if quota:
        (limits / "cpu.max").write_text(quota + "\n", encoding="ascii")
    return cores_among(set(range(processors)), root)


@pytest.mark.parametrize(("processors", "streams"), [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16), (64, 16)])
def test_a_stream_for_each_core_up_to_sixteen(
    processors: int, streams: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = machine(tmp_path, processors)
    assert found == processors
    monkeypatch.setattr("vs_paragonsr2.backends.openvino.cores", lambda: found)
    assert BACKEND.default_streams("CPU") == streams
    assert BACKEND.default_streams("GPU") == 2


@pytest.mark.parametrize(
    ("vendor", "flags", "gains"),
    [
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2 avx512f", False),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", True),
    ],
)
def test_bf16_is_for_processors_that_multiply_it_faster(vendor: str, flags: str, gains: bool, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    assert not gains_by_bf16(tmp_path)
    (tmp_path / "proc/cpuinfo").write_text(f"vendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n", encoding="ascii")
    assert gains_by_bf16(tmp_path) == gains


def test_two_threads_of_a_core_are_one(tmp_path: Path) -> None:
    assert machine(tmp_path, 16, threads=2) == 8
    assert cores_among({0, 1, 2}, tmp_path) == 2


@pytest.mark.parametrize(
    ("quota", "found"), [("max 100000", 8), ("200000 100000", 2), ("350000 100000", 3), ("50000 100000", 1), ("9000000 100000", 8)]
)
@pytest.mark.parametrize("group", ["/", "/a/b"])
def test_a_quota_limits_them(quota: str, found: int, group: str, tmp_path: Path) -> None:
    assert machine(tmp_path, 8, quota=quota, group=group) == found


def test_a_quota_of_an_outer_group_holds(tmp_path: Path) -> None:
    machine(tmp_path, 8, group="/a/b")
    (tmp_path / "sys/fs/cgroup/a/cpu.max").write_text("300000 100000\n", encoding="ascii")
    assert cores_among(set(range(8)), tmp_path) == 3


def test_a_system_that_says_nothing_has_as_many_cores_as_processors(tmp_path: Path) -> None:
    assert cores_among({0, 2, 5}, tmp_path) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinities to set")
def test_a_process_that_may_use_one_core_takes_one_stream() -> None:
    assert 1 <= cores() <= len(os.sched_getaffinity(0))
    one = min(os.sched_getaffinity(0))
    bound = f"import os; os.sched_setaffinity(0, {{{one}}}); {SAY}"
    assert (
        subprocess.run([sys.executable, "-c", bound], capture_output=True, text=True, check=True, encoding="utf-8").stdout == "1\n"
    )


def test_no_more_threads_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a quota the processors of the whole machine are to be seen, and as many threads would wait for one another."""
    monkeypatch.setattr(openvino_session, "cores", lambda: 1)
    session = openvino_session.open_session(
        request_of("openvino", find_model("realtime", 2), make_spec(2, (14, 20)), num_streams=2)
    )
    assert isinstance(session, OpenVINOSession)
    assert [graph.get_property("INFERENCE_NUM_THREADS") for graph in session.program.compiled] == [1, 1]
