"""Which shared libraries a process has loaded, and what Windows and macOS would be asked, by stand-ins for their functions."""

import ctypes
import importlib.util
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vs_paragonsr2.support import libraries, processors
from vs_paragonsr2.support.libraries import loaded_libraries, mapped_libraries
from vs_paragonsr2.support.processors import cores, count_records

MAPS = """\
55d0 r--p 00000000 fe:00 123  /usr/bin/python3.12
7f10 r-xp 00001000 fe:00 124  /opt/my plugins/libb.so
7f11 r--p 00002000 fe:00 124  /opt/my plugins/libb.so
7f12 r--p 00000000 fe:00 125  /usr/lib/liba.so.2026.3.0 (deleted)
7f13 rw-p 00000000 00:00 0
7f14 rw-p 00000000 00:00 0    [heap]
"""


def test_libraries_are_the_mapped_files_that_are_called_so() -> None:
    assert mapped_libraries(MAPS) == ["/opt/my plugins/libb.so", "/usr/lib/liba.so.2026.3.0"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_a_module_of_this_process_is_among_them() -> None:
    found = loaded_libraries()
    assert np._core._multiarray_umath.__file__ in found
    assert found == sorted(set(found))


def test_a_system_that_does_not_say_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    monkeypatch.setattr(libraries, "MAPS", tmp_path / "none")
    assert loaded_libraries() == []


def as_on(platform: str, module: ModuleType) -> ModuleType:
    """A module of the package as it is where ``sys.platform`` is another one."""
    assert sys.platform == platform and module.__file__
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_{platform}", module.__file__)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Function:
    """A function of a library, as ctypes has it: its result's type can be set."""

    restype: Any = None

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work

    def __call__(self, *arguments: Any) -> Any:
        return self._work(*arguments)


class Kernel32:
    """Windows' kernel32 with two modules and three cores, one of them with a record that is longer."""

    modules = (0x7FF600000000, 0x7FF612340000)
    names = {0x7FF600000000: "C:\\vs\\VSPipe.exe", 0x7FF612340000: "C:\\vs\\plugins\\größer\\openvino.dll"}  # noqa: RUF012
    records = b"".join(struct.pack("<II", 0, size) + bytes(size - 8) for size in (48, 80, 48))

    def __init__(self) -> None:
        self.GetCurrentProcess = Function(lambda: -1)
        self.K32EnumProcessModules = Function(self._enumerate)
        self.GetModuleFileNameW = Function(self._name)
        self.GetLogicalProcessorInformationEx = Function(self._cores)

    def _enumerate(self, process: Any, modules: Any, size: int, needed: Any) -> int:
        assert process.value == ctypes.c_void_p(-1).value
        needed._obj.value = 8 * len(self.modules)
        assert size == (needed._obj.value if modules is not None else 0)
        if modules is not None:
            modules[:] = self.modules
        return 1

    def _name(self, module: Any, buffer: Any, length: int) -> int:
        buffer.value = self.names[module.value]
        assert len(buffer.value) < length
        return len(buffer.value)

    def _cores(self, relation: int, buffer: Any, size: Any) -> int:
        assert relation == 0
        enough = buffer is not None and size._obj.value >= len(self.records)
        size._obj.value = len(self.records)
        if enough:
            buffer.raw = self.records
        return int(enough)


def test_windows_is_asked_for_modules_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", lambda name: {"kernel32": Kernel32()}[name], raising=False)
    assert as_on("win32", libraries).loaded_libraries() == sorted(Kernel32.names.values())
    there = as_on("win32", processors)
    monkeypatch.setattr(there, "processors", lambda: set(range(6)))
    assert there.cores() == 3


class Dyld:
    """macOS' library of the system, on two cores."""

    images = (b"/usr/bin/vspipe", b"/opt/gr\xc3\xb6\xc3\x9fer/libopenvino.2630.dylib")

    def __init__(self) -> None:
        self._dyld_image_count = Function(lambda: len(self.images))
        self._dyld_get_image_name = Function(lambda index: self.images[index.value])
        self.sysctlbyname = Function(self._sysctl)

    def _sysctl(self, name: bytes, value: Any, size: Any, new: None, new_size: Any) -> int:
        assert (name, size._obj.value, new_size.value) == (b"hw.physicalcpu", 4, 0)
        value._obj.value = 2
        return 0


def test_macos_is_asked_for_images_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Dyld())
    assert as_on("darwin", libraries).loaded_libraries() == ["/opt/größer/libopenvino.2630.dylib", "/usr/bin/vspipe"]
    there = as_on("darwin", processors)
    monkeypatch.setattr(there, "processors", lambda: set(range(8)))
    assert there.cores() == 2


@pytest.mark.parametrize(("usable", "physical", "found"), [(8, 4, 4), (2, 4, 2), (6, 0, 6), (1, 0, 1)])
def test_cores_are_no_more_than_the_processors_to_use(
    usable: int, physical: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system names the machine's physical cores, or (0) does not."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(processors, "processors", lambda: set(range(usable)))
    monkeypatch.setattr(processors, "_physical_cores", lambda: physical)
    assert cores() == found


@pytest.mark.parametrize("answer", [b"", bytes(7), struct.pack("<II", 0, 0), struct.pack("<II", 0, 7)])
def test_records_without_a_size_do_not_count(answer: bytes) -> None:
    assert count_records(answer) == 0
