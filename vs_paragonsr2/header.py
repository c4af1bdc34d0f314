"""What the names and shapes of a checkpoint's tensors say, without PyTorch, which takes a second to import."""

from collections.abc import Mapping, Sequence
from pathlib import Path

WRAPPINGS = ("params_ema.", "params.", "state_dict.", "model.")
"""Where training programs put the weights, the one to prefer first."""

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""


def unwrapped[T](tensors: Mapping[str, T]) -> dict[str, T]:
    """The tensors, or their shapes, under the network's own names."""
    found = dict(tensors)
    for wrapping in WRAPPINGS:
        inside = {name.removeprefix(wrapping): t for name, t in found.items() if name.startswith(wrapping)}
        found = inside or found
    while found and (prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in found)), None)):
        found = {name.removeprefix(prefix): t for name, t in found.items()}
    return found


def scale_in_header(path: Path) -> int | None:
    """The scale of a safetensors file by its header alone; None where it is no such file, or says none.

    A file that says one may be wrong in all else: :func:`~.checkpoint.load_network` decides.
    """
    return _scale_of(_shapes(path))


def attention_in_header(path: Path) -> bool:
    """Whether a safetensors file's network has attention, by its header alone."""
    return any(part.endswith("attn") for name in _shapes(path) for part in name.split("."))


def _shapes(path: Path) -> dict[str, Sequence[int]]:
    """Of the tensors of a safetensors file; none where it is no such file."""
    import safetensors  # here, for a machine that has PyTorch alone

    try:
        with safetensors.safe_open(path, "numpy") as file:
            return unwrapped({name: file.get_slice(name).get_shape() for name in file.keys()})  # noqa: SIM118  it is no dict
    except (safetensors.SafetensorError, OSError, ValueError):
        return {}


def _scale_of(shapes: Mapping[str, Sequence[int]]) -> int | None:
    """From the channels before the pixel shuffle, features * scale**2, or the number of upsampling stages of versions 7 and 8."""
    if stages := sum(name.startswith("detail_upsampler.stages.") and name.endswith("up_conv.weight") for name in shapes):
        return int(2**stages)
    features, *_ = shapes.get("conv_in.weight") or [0]
    channels, *_ = shapes.get("up.0.weight") or shapes.get("detail_upsampler.up_conv.weight") or [0]
    return next((scale for scale in range(2, 9) if features and channels == features * scale**2), None)
