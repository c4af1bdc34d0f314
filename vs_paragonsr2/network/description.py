"""Recognises a network from the names and shapes of its tensors, and knows which tensors it has and how they fold. NumPy alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..program.colour import Array
from ..program.operations import Operation
from ..program.parts import Layer, NetworkParts, Taps
from ..support.arguments import shown
from ..support.errors import ParagonSR2Error
from .folding import Shapes, Tensors, convolved, layer, prefixed, under
from .legacy import Legacy
from .variant import SCALES, AttentionMode, BlockOptions, Variant
from .variants import VARIANTS

HALF_BAND = (-1 / 32, 0.0, 9 / 32, 16 / 32, 9 / 32, 0.0, -1 / 32)
"""Taps of the base path's low-pass at the low resolution."""

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Taps of the base path's blur at the high resolution."""


@dataclass(frozen=True, slots=True)
class Description:
    """Which network a checkpoint is of. All that depends on it alone is asked here, by loaders and networks alike."""

    variant: str
    version: int
    """11; 10 for versions 9 and 10, which do not differ; 8; 7."""
    scale: int
    has_attention: bool = False
    """Whether there is window attention."""
    has_content_processor: bool = False
    """Whether there is a map of detail, as versions 7 and 8 of Stream can have it."""

    def __str__(self) -> str:
        return f"{self.variant} {self.scale}x, version {self.version}"

    @property
    def is_legacy(self) -> bool:
        """Whether the version is 7 or 8."""
        return self.version < 9

    @property
    def sees_whole_picture(self) -> bool:
        """Whether an output depends on every input."""
        return self.has_attention or VARIANTS[self.variant].always_sees_whole

    @property
    def window(self) -> int | None:
        """Side of the windows in pixels that the picture is divided into; None for a finite receptive field."""
        return VARIANTS[self.variant].window if self.sees_whole_picture else None

    @property
    def default_alpha(self) -> float:
        """Blend of the base path's low-pass where nothing says it."""
        return self.legacy.block.alpha if self.is_legacy else VARIANTS[self.variant].alpha

    @property
    def legacy(self) -> Legacy:
        """What a network of version 7 or 8 has instead of today's layers."""
        return Legacy(VARIANTS[self.variant], self.version, self.scale, self.has_content_processor)

    def shapes(self) -> Shapes:
        """The shapes of all tensors by name."""
        if self.is_legacy:
            return self.legacy.shapes() | self._base_shapes(("base_upsampler.sharpen", "base_upsampler.resample_conv"))
        variant = VARIANTS[self.variant]
        f = variant.features
        attention: AttentionMode | None = "sdpa" if self.has_attention else None  # the tensors of every mode are the same
        block = variant.shapes(BlockOptions(channels=f, version=self.version, attention=attention))
        found: Shapes = {"detail_gain": ()} | layer("conv_in", f, 3, 3, 3) | layer("conv_mid", f, f, 3, 3)
        found |= layer("up.0", f * self.scale**2, f, 3, 3) | layer("conv_out", 3, f, 3, 3)
        for group in range(variant.groups):
            for index in range(variant.blocks):
                found |= prefixed(f"body.{group}.blocks.{index}", block)
        return found | self._base_shapes(("base.sharp", "base.blur"))

    def _base_shapes(self, names: tuple[str, str]) -> Shapes:
        found: Shapes = {}
        for name, taps in zip(names, (HALF_BAND, BINOMIAL), strict=True):
            n = len(taps)
            rows, columns, kernel = ("conv_h", "conv_v", "source_kernel") if self.is_legacy else ("h", "v", "kernel")
            found |= {f"{name}.{rows}.weight": (3, 1, 1, n), f"{name}.{columns}.weight": (3, 1, n, 1)}
            found |= {f"{name}.{kernel}": (n,)} if self.version != 7 else {}
        return found

    def parts(self, tensors: Tensors, alpha: float) -> NetworkParts:
        """The network's parts for :func:`~..program.fold.fold`.

        Raises ParagonSR2Error where the base path's filters are not the same for each colour channel.
        """
        if self.is_legacy:
            last = f"detail_upsampler.stages.{3 * self.legacy.stages - 3}" if self.legacy.stages else "detail_upsampler"
            factor, gain = 2 if self.legacy.stages else self.scale, float(tensors["global_detail_gain"])
            up, body = _layer(tensors, f"{last}.up_conv"), self.legacy.fold
            if not self.legacy.stages:
                up = Layer(up.weight * self.legacy.detail_factor, up.bias)
            names = ("base_upsampler.sharpen", "base_upsampler.resample_conv")
            alpha = min(max(alpha, 0.0), 1.0)
        else:
            up, factor, gain = _layer(tensors, "up.0"), self.scale, float(tensors["detail_gain"])
            body, names = self._fold_body, ("base.sharp", "base.blur")
        low_pass, blur = (_taps(under(tensors, name)) for name in names)
        head, out = _layer(tensors, "conv_in"), _layer(tensors, "conv_out")
        return NetworkParts(self.scale, alpha, low_pass, blur, head, partial(body, tensors=tensors), up, factor, out, gain)

    def _fold_body(self, x: Operation, tensors: Tensors) -> Operation:
        """The blocks for which there are tensors, then ``conv_mid``."""
        variant, number = VARIANTS[self.variant], 0
        for group in range(variant.groups):
            for block in range(variant.blocks):
                own = under(tensors, f"body.{group}.blocks.{block}")
                x = variant.fold(x, own, number % 2 == 1) if own else x
                number += 1
        return convolved(x, tensors, "conv_mid")


def _layer(tensors: Tensors, name: str) -> Layer:
    return Layer(tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _taps(tensors: Tensors) -> Taps:
    """The taps of a separable filter of the base path, (vertical, horizontal)."""
    found: dict[bool, Array] = {}
    for weight in (tensor for tensor in tensors.values() if tensor.ndim == 4):
        taps = weight.reshape(len(weight), -1)
        if (taps != taps[:1]).any():
            raise ParagonSR2Error("the base path's filters differ between R, G and B: expected the same for all three")
        found[weight.shape[2] > 1] = taps[0]
    return found[True], found[False]


def describe(shapes: Mapping[str, Sequence[int]], where: object) -> Description:
    """Recognise the network from the names and shapes of its tensors. Whether they are complete and right is not checked.

    ``where`` is what the messages of errors begin with.

    Raises:
        ParagonSR2Error: they are not of a ParagonSR2 network, or of one that cannot be used.
    """
    if "conv_in.weight" not in shapes or not any(name.startswith(("base.", "base_upsampler.")) for name in shapes):
        found = ", ".join(map(shown, sorted(shapes)[:3])) or "no tensors at all"
        raise ParagonSR2Error(f"{where}: not a ParagonSR2 checkpoint. It has {found}; expected conv_in.weight, base.*, body.*, ...")
    if any(name.startswith("base_upsampler.") for name in shapes):
        return _describe_legacy(shapes, where)
    first = {name.removeprefix("body.0.blocks.0.") for name in shapes if name.startswith("body.0.blocks.0.")}
    variant = next((variant for variant in VARIANTS.values() if variant.recognises(first)), None)
    if variant is None:
        found = ", ".join(map(shown, sorted(first)[:3])) or "nothing"
        raise ParagonSR2Error(f"{where}: body.0.blocks.0 has {found}, which is no block of {', '.join(VARIANTS)}")
    scale = _scale_of(shapes, "up.0.weight", variant.features, where)
    oldest = BlockOptions(channels=variant.features, version=10)
    in_11 = _added(variant, oldest, version=11)
    of_attention = _added(variant, oldest, attention="sdpa")
    return Description(variant.name, 11 if not in_11 or in_11 & first else 10, scale, bool(of_attention & first))


def _added(variant: Variant, options: BlockOptions, **changes: Any) -> set[str]:
    """The names of the tensors that a block has with changed options, and without the change does not have."""
    return variant.shapes(replace(options, **changes)).keys() - variant.shapes(options).keys()


def _describe_legacy(shapes: Mapping[str, Sequence[int]], where: object) -> Description:
    version = 8 if "base_upsampler.sharpen.source_kernel" in shapes else 7
    features = next(iter(shapes["conv_in.weight"]), 0)
    usable = [variant for variant in VARIANTS.values() if variant.legacy]
    for other in VARIANTS.values():
        if other.legacy_fault and other.features == features:
            name, others = other.name.title(), " or ".join(variant.name.title() for variant in usable)
            raise ParagonSR2Error(
                f"{where}: a {name} checkpoint of version {version}, {other.legacy_fault}. "
                f"Use a {name} checkpoint of version 9 or later, or {others} of any version"
            )
    variant = next((variant for variant in usable if variant.features == features), None)
    if variant is None:
        expected = " or ".join(str(variant.features) for variant in usable)
        raise ParagonSR2Error(f"{where}: conv_in has {features} features; a version {version} checkpoint has {expected}")
    stages = sum(name.startswith("detail_upsampler.stages.") and name.endswith("up_conv.weight") for name in shapes)
    scale = 2**stages if stages else _scale_of(shapes, "detail_upsampler.up_conv.weight", features, where)
    if scale not in SCALES:
        raise ParagonSR2Error(f"{where}: {stages} upsampling stages; expected 2 (4x) or 3 (8x)")
    analyzer = any(name.startswith("content_processor.analyzer.") for name in shapes)
    return Description(variant.name, version, scale, has_content_processor=analyzer)


def _scale_of(shapes: Mapping[str, Sequence[int]], name: str, features: int, where: object) -> int:
    """The scale whose square, times the number of features, is the number of channels before the pixel shuffle."""
    if name not in shapes:
        raise ParagonSR2Error(f"{where}: lacks {name}, from which the scale is read")
    shape = tuple(shapes[name])
    for scale in SCALES:
        if shape[:1] == (features * scale * scale,):
            return scale
    expected, scales = ", ".join(str(features * s * s) for s in SCALES), ", ".join(map(str, SCALES))
    raise ParagonSR2Error(f"{where}: {name} has the shape {shape}; expected {expected} output channels (scales {scales})")
