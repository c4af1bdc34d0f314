"""OpenVINO: the fast backend where there is no CUDA device. It compiles in a fraction of a second and keeps nothing on disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ...support.errors import ParagonSR2Error
from ...support.libraries import loaded_libraries
from ...support.processors import cores
from ..base import AnySession, Backend, Request, listed
from ..options import Options, option, tile_sides

if TYPE_CHECKING:
    import openvino as ov

MOST_STREAMS = 16
"""The most frames computed at once on a CPU, each of which takes memory; where there are more cores, each stream has several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVINOOptions(Options):
    """What sessions of OpenVINO can be asked for."""

    tile_size: tuple[int, int] | None = option("(width, height) of the source, or one number: bands keep to the height", tile_sides)


class OpenVINOBackend(Backend[OpenVINOOptions]):
    """Intel's OpenVINO on any CPU, and on Intel's GPUs and NPUs by name."""

    name = "openvino"
    title = "OpenVINO"
    preference = 20
    devices = chosen_devices = ("CPU", "GPU", "NPU")
    precisions = ("f32", "bf16", "f16")
    options_type = OpenVINOOptions
    defaults = {  # noqa: RUF012
        "device": "`CPU`",
        "num_streams": f"on a CPU one for each core, up to {MOST_STREAMS}, and 2 at most for Photo; else 2",
        "precision": "at 8 bits bf16 on a CPU that gains by it, and f16 on GPUs, else f32; NPUs f16",
        "tile_size": "bands of few rows",
    }
    packages = ("openvino",)

    def import_runtime(self) -> None:
        import_module(".session", __package__)

    def import_hint(self, error: ImportError) -> str:
        return clash()

    def default_streams(self, device: str) -> int:
        """On a CPU one for each core, on other devices two: one frame's copies go on beside the other's arithmetic.

        A stream of one thread waits for nobody. (Measured on two cores in f32: where nothing else runs, two streams of a thread
        take the processor time of one of two threads; but in two of five runs the latter took nearly twice as much.)
        """
        return min(cores(), MOST_STREAMS) if device.upper().startswith("CPU") else 2

    def device_name(self, options: OpenVINOOptions) -> str:
        import openvino as ov

        core = ov.Core()
        return str(core.get_property(find_device(core, options.device or "CPU", options.device_index[0]), "FULL_DEVICE_NAME"))

    def list_devices(self) -> Iterator[str]:
        import openvino as ov

        core = ov.Core()
        for name in core.available_devices:
            yield f"{name}: {core.get_property(name, 'FULL_DEVICE_NAME')}"

    def open_session(self, request: Request[OpenVINOOptions]) -> AnySession:
        from .session import open_session

        return open_session(request)


def find_device(core: "ov.Core", kind: str, index: int) -> str:
    """OpenVINO's name of a device, as ``"CPU"`` or ``"GPU.1"``. Raises ParagonSR2Error where it is not there."""
    there = core.available_devices
    own = [name for name in there if name.split(".")[0] == kind.upper()]
    if not own:
        kinds = sorted({name.split(".")[0] for name in there})
        raise ParagonSR2Error(f"device is {kind!r}: OpenVINO finds {listed(kinds)} here")
    if index >= len(own):
        raise ParagonSR2Error(f"device_index is {index}: there are {len(own)} of {kind!r}, counted from 0")
    return own[index]


def clash() -> str:
    """What clashes with the Python package of OpenVINO, in words; "" where nothing does.

    Two libraries of one minor version have one name and cannot live in a process. A plugin's library is there first: VapourSynth
    loads it with the core.
    """
    try:
        package = metadata.distribution("openvino")
    except metadata.PackageNotFoundError:
        return ""
    own = str(package.locate_file("openvino"))
    others = sorted(path for path in loaded_libraries() if "openvino" in Path(path).name and not path.startswith(own))
    if not others:
        return ""
    return (
        f"the Python package openvino {package.version} clashes with {others[0]}, which a VapourSynth plugin has loaded: remove "
        "the plugin, or install the version of openvino that this package asks for"
    )


BACKEND = OpenVINOBackend()
