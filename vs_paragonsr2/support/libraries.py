"""The shared libraries that this process has loaded.

Linux lists them in ``/proc``, Windows and macOS through functions of the system. The latter two are written after the makers'
documentation and have never been run there.
"""

import ctypes
import sys
from pathlib import Path

MAPS = Path("/proc/self/maps")
"""Linux's list of the files that are mapped into this process."""


def loaded_libraries() -> list[str]:
    """The paths of the shared libraries in this process, sorted and without repetitions; empty where the system does not say."""
    if sys.platform == "win32":
        return sorted(set(_windows_modules()))
    if sys.platform == "darwin":
        return sorted(set(_macos_images()))
    try:
        return mapped_libraries(MAPS.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def mapped_libraries(maps: str) -> list[str]:
    """The same from the text of ``/proc/self/maps``: address, rights, offset, device, inode and, for a file, its path."""
    fields = (line.split(maxsplit=5) for line in maps.splitlines())
    paths = {line[5].removesuffix(" (deleted)") for line in fields if len(line) == 6}
    return sorted(path for path in paths if ".so" in Path(path).suffixes)


if sys.platform == "win32":

    def _windows_modules() -> list[str]:
        """By EnumProcessModules, which kernel32 has under a name with ``K32``."""
        kernel = ctypes.WinDLL("kernel32")
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        process = ctypes.c_void_p(kernel.GetCurrentProcess())
        needed = ctypes.c_uint32()
        kernel.K32EnumProcessModules(process, None, 0, ctypes.byref(needed))
        modules = (ctypes.c_void_p * (needed.value // ctypes.sizeof(ctypes.c_void_p)))()
        if not kernel.K32EnumProcessModules(process, modules, ctypes.sizeof(modules), ctypes.byref(needed)):
            return []
        name = ctypes.create_unicode_buffer(32768)  # the longest path that Windows has
        return [name.value for module in modules if kernel.GetModuleFileNameW(ctypes.c_void_p(module), name, len(name))]


if sys.platform == "darwin":

    def _macos_images() -> list[str]:
        """By the dynamic linker's list of images, the program itself included."""
        linker = ctypes.CDLL(None)
        linker._dyld_get_image_name.restype = ctypes.c_char_p
        names = (linker._dyld_get_image_name(ctypes.c_uint32(index)) for index in range(linker._dyld_image_count()))
        return [name.decode(errors="replace") for name in names if name]
