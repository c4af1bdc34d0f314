"""From a file to a network: detect variant, scale and version from the tensors, verify them all, refuse the rest.

A checkpoint is data from strangers. Nothing in it is executed, its size is checked before anything is allocated, and a
network is returned only after every tensor has been found right.
"""

import json
import os
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .arguments import ALPHA_RANGE, MAX_CHECKPOINT_BYTES, checkpoint_file, is_alpha
from .errors import ParagonSR2Error
from .header import unwrapped
from .network import SCALES, VARIANTS, LegacyParagonSR2, Network, ParagonSR2, Variant
from .network.blocks import AttentionMode

if TYPE_CHECKING:
    from .network.legacy import LegacyVariant

MAX_DEPTH = 4
"""Of dictionaries within each other."""

TENSOR_PARTS = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_(tensor_v2|parameter)|torch\.(\w*Storage|bfloat16|storage\.UntypedStorage)"
)
"""What a pickle of tensors names."""


def load_network(path: str | os.PathLike[str], *, alpha: float | None = None, attention_mode: AttentionMode = "sdpa") -> Network:
    """Load a checkpoint of any version.

    Args:
        path: a ``.safetensors`` file, or a ``.pth`` or ``.pt`` file of tensors alone. The weights may be wrapped in
            ``params_ema``, ``params``, ``state_dict``, ``model`` or ``module``.
        alpha: blend of the base path's low-pass, from 0 up. It is no tensor: where it is None the file's metadata say it, else
            the default of the variant and version.
        attention_mode: ``"sdpa"`` or ``"flex"``, how photo and pro compute window attention where the checkpoint has it.

    Returns:
        The network in eval mode and float32, on the CPU, with the attributes ``variant``, ``scale``, ``version`` (11; 10 for
        versions 9 and 10, which do not differ; 8; 7) and ``alpha``.

    Raises:
        ParagonSR2Error: the file cannot be read, is of another architecture, or lacks, adds or distorts a tensor.
    """
    if not isinstance(path, str | os.PathLike):
        raise ParagonSR2Error(f"path is {path!r}: expected the path of a checkpoint")
    path = checkpoint_file("path", path)
    if attention_mode not in ("sdpa", "flex"):
        raise ParagonSR2Error(f"attention_mode is {attention_mode!r}: expected 'sdpa' or 'flex'")
    tensors, metadata = _read(path)
    if alpha is None:
        alpha = _alpha_in(metadata, path)
    elif not is_alpha(alpha):
        raise ParagonSR2Error(f"alpha is {alpha!r}: expected {ALPHA_RANGE}")
    build, what = _recognise(tensors, path, attention_mode)
    # Whatever another script made the default: what is promised is float32 on the CPU.
    with torch.device("cpu"):
        network = build(alpha).float()
    _verify(tensors, network.state_dict(), path, what)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=True)
    return network.eval()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file under their bare names, and its metadata."""
    if path.suffix == ".safetensors":
        import safetensors  # here, for a machine that has PyTorch alone

        try:
            with safetensors.safe_open(path, "pt") as file:
                tree: Any = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
                metadata = file.metadata() or {}
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise ParagonSR2Error(f"{path}: truncated, or no safetensors file ({error})") from error
    elif path.suffix in (".pth", ".pt"):
        tree, metadata = _read_pickle(path), {}
    else:
        raise ParagonSR2Error(f"{path}: expected a checkpoint that ends in .safetensors, .pth or .pt")
    return unwrapped(dict(_flatten(tree))), metadata


def _read_pickle(path: Path) -> object:
    """What torch.save wrote, tensors and plain containers alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_CHECKPOINT_BYTES:
                raise ParagonSR2Error(
                    f"{path}: unpacks to {unpacked / 2**20:.0f} MiB, more than the {MAX_CHECKPOINT_BYTES >> 20} MiB that are read"
                )
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ParagonSR2Error(f"{path}: a TorchScript program; expected the weights alone, as its state_dict")
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    _check_pickle(archive.read(name), path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except ParagonSR2Error:
        raise
    except zipfile.BadZipFile as error:
        raise ParagonSR2Error(f"{path}: truncated, or not written by torch.save of PyTorch 1.6 or later ({error})") from error
    except Exception as error:  # a malformed archive fails in many ways inside the reader
        # Its words are left out: they advise loading with code execution, which is not to be repeated to anybody.
        raise ParagonSR2Error(f"{path}: damaged, or no PyTorch checkpoint ({type(error).__name__})") from error


def _check_pickle(data: bytes, path: Path) -> None:
    """Refuse a pickle that names anything but tensors: PyTorch's loader lets more pass, which can fill the memory."""
    for opcode, argument, _ in pickletools.genops(data):
        named = opcode.name == "GLOBAL" and str(argument).replace(" ", ".")
        if opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4") or (named and not TENSOR_PARTS.fullmatch(named)):
            raise ParagonSR2Error(
                f"{path}: holds Python objects other than tensors ({named or opcode.name}), and nothing of it was run. "
                "Ask for the state_dict alone, as .safetensors if possible"
            )


def _flatten(tree: object, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested dictionaries under dotted names; a dictionary that comes again is left out."""
    seen = set() if seen is None else seen
    if isinstance(tree, dict) and id(tree) not in seen and prefix.count(".") < MAX_DEPTH:
        seen.add(id(tree))
        for key, value in tree.items():
            if isinstance(value, Tensor):
                yield f"{prefix}{key}", value
            else:
                yield from _flatten(value, f"{prefix}{key}.", seen)


def _alpha_in(metadata: dict[str, str], path: Path) -> float | None:
    """``upsampler_alpha`` of the metadata's ``kwargs``, or None where it is not said."""
    try:
        kwargs = json.loads(metadata.get("kwargs", "{}"))
    except (ValueError, RecursionError) as error:
        shown = metadata["kwargs"][:80]
        raise ParagonSR2Error(f"{path}: the metadata's kwargs are {shown!r}: expected a JSON object") from error
    if not isinstance(kwargs, dict):
        raise ParagonSR2Error(f"{path}: the metadata's kwargs are {kwargs!r}: expected a JSON object")
    alpha = kwargs.get("upsampler_alpha")
    if alpha is not None and not is_alpha(alpha):
        raise ParagonSR2Error(f"{path}: upsampler_alpha in the metadata is {alpha!r}: expected {ALPHA_RANGE}")
    return alpha


def _recognise(
    tensors: dict[str, Tensor], path: Path, attention_mode: AttentionMode
) -> tuple[Callable[[float | None], Network], str]:
    """How to build the network that these tensors are of, given alpha, and its name for messages."""
    if "conv_in.weight" not in tensors or not any(name.startswith(("base.", "base_upsampler.")) for name in tensors):
        shown = ", ".join(sorted(tensors)[:3]) or "no tensors at all"
        raise ParagonSR2Error(f"{path}: not a ParagonSR2 checkpoint. It has {shown}; expected conv_in.weight, base.*, body.*, ...")
    if any(name.startswith("base_upsampler.") for name in tensors):
        return _recognise_legacy(tensors, path)
    first = {name.removeprefix("body.0.blocks.0.") for name in tensors if name.startswith("body.0.blocks.0.")}
    variant: Variant
    if "token_ca.token_dict" in first:
        variant = "pro"
    elif "norm.scale" in first:
        variant = "photo"
    elif "gate.weight" in first:
        variant = "stream"
    else:
        variant = "realtime"
    features = VARIANTS[variant].features
    scale = _scale_of(tensors, "up.0.weight", features, path)
    version = 11 if variant in ("photo", "pro") or "scale.gamma" in first else 10
    has_attention = any(name.startswith(("attn.", "window_attn.")) for name in first)

    def build(alpha: float | None) -> Network:
        mode = attention_mode if has_attention else None
        return ParagonSR2(variant, scale, upsampler_alpha=alpha, attention_mode=mode, version=version)

    return build, f"{variant} {scale}x, version {version}"


def _recognise_legacy(tensors: dict[str, Tensor], path: Path) -> tuple[Callable[[float | None], Network], str]:
    """The same for versions 7 and 8."""
    version = 8 if "base_upsampler.sharpen.source_kernel" in tensors else 7
    features = tensors["conv_in.weight"].shape[0] if tensors["conv_in.weight"].dim() else 0
    if features == VARIANTS["photo"].features:
        raise ParagonSR2Error(
            f"{path}: a Photo checkpoint of version {version}, whose published code does not run outside one attention mode. "
            "Use a Photo checkpoint of version 9 or later, or Realtime or Stream of any version"
        )
    variants: dict[int, LegacyVariant] = {VARIANTS["realtime"].features: "realtime", VARIANTS["stream"].features: "stream"}
    if features not in variants:
        raise ParagonSR2Error(f"{path}: conv_in has {features} features; a version {version} checkpoint has 16 or 32")
    variant = variants[features]
    stages = sum(name.startswith("detail_upsampler.stages.") and name.endswith("up_conv.weight") for name in tensors)
    scale = 2**stages if stages else _scale_of(tensors, "detail_upsampler.up_conv.weight", features, path)
    if scale not in SCALES:
        raise ParagonSR2Error(f"{path}: {stages} upsampling stages; expected 2 (4x) or 3 (8x)")
    analyzer = any(name.startswith("content_processor.analyzer.") for name in tensors)

    def build(alpha: float | None) -> Network:
        return LegacyParagonSR2(variant, scale, version, upsampler_alpha=alpha, content_processor=analyzer)

    return build, f"{variant} {scale}x, version {version}"


def _scale_of(tensors: dict[str, Tensor], name: str, features: int, path: Path) -> int:
    """The scale whose square times the features is the number of channels before the pixel shuffle."""
    if name not in tensors:
        raise ParagonSR2Error(f"{path}: lacks {name}, from which the scale is read")
    shape = tuple(tensors[name].shape)
    for scale in SCALES:
        if shape[:1] == (features * scale * scale,):
            return scale
    expected = ", ".join(str(features * s * s) for s in SCALES)
    raise ParagonSR2Error(f"{path}: {name} has the shape {shape}; expected {expected} output channels (scales 2, 3, 4, 8)")


def _verify(tensors: dict[str, Tensor], expected: dict[str, Tensor], path: Path, what: str) -> None:
    """Names, shapes, types and values are those of the network, or ParagonSR2Error says which are not."""
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or extra:
        found = " and ".join(
            f"{verb} {len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for verb, names in (("lacks", missing), ("adds", extra))
            if names
        )
        raise ParagonSR2Error(f"{path}: {what} by its form, which has {len(expected)} tensors, but the file {found}")
    for name, tensor in tensors.items():
        shape, right = tuple(tensor.shape), tuple(expected[name].shape)
        if shape != right:
            raise ParagonSR2Error(f"{path}: {name} has the shape {shape}; {what} has {right}")
        if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ParagonSR2Error(
                f"{path}: {name} is {tensor.layout} {tensor.dtype} on {tensor.device}; expected dense floating-point weights"
            )
        if not bool(torch.isfinite(tensor.float()).all()):
            raise ParagonSR2Error(f"{path}: {name} has values that are not finite; a trained checkpoint has none")
