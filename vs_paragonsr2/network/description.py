"""What a checkpoint holds, from the names and shapes of its tensors; and what of its tensors goes where. NumPy alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..program.colour import Array
from ..program.operations import Operation
from ..program.parts import Layer, NetworkParts, Taps
from ..support.arguments import shown
from ..support.errors import ParagonSR2Error
from .folding import Shapes, Tensors, convolved, layer, prefixed, under
from .legacy import DEFAULT_ALPHA as LEGACY_ALPHA
from .legacy import VARIANTS as LEGACY_VARIANTS
from .legacy import Legacy
from .photo import VARIANT as PHOTO
from .pro import VARIANT as PRO
from .realtime import VARIANT as REALTIME
from .stream import VARIANT as STREAM
from .variant import SCALES, Variant

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in (REALTIME, STREAM, PHOTO, PRO)}

HALF_BAND = (-1 / 32, 0.0, 9 / 32, 16 / 32, 9 / 32, 0.0, -1 / 32)
"""The base path's low-pass at the low resolution."""

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""The base path's blur at the high resolution."""


@dataclass(frozen=True, slots=True)
class Description:
    """Which network a checkpoint is of."""

    variant: str
    version: int
    """11; 10 for versions 9 and 10, which do not differ; 8; 7."""
    scale: int
    has_attention: bool = False
    """Window attention."""
    has_content_processor: bool = False
    """Stream's map of detail, in versions 7 and 8."""

    def __str__(self) -> str:
        return f"{self.variant} {self.scale}x, version {self.version}"

    @property
    def is_legacy(self) -> bool:
        """Whether it is of version 7 or 8."""
        return self.version < 9

    @property
    def sees_whole_picture(self) -> bool:
        """Whether an output depends on every input."""
        return self.has_attention or VARIANTS[self.variant].always_sees_whole

    @property
    def default_alpha(self) -> float:
        """Blend of the base path's low-pass where nothing says it."""
        return LEGACY_ALPHA[self.variant] if self.is_legacy else VARIANTS[self.variant].alpha

    @property
    def legacy(self) -> Legacy:
        """Of version 7 or 8."""
        return Legacy(self.variant, self.version, self.scale, self.has_content_processor)

    def shapes(self) -> Shapes:
        """Of all tensors."""
        if self.is_legacy:
            return self.legacy.shapes() | self._base_shapes(("base_upsampler.sharpen", "base_upsampler.resample_conv"))
        variant = VARIANTS[self.variant]
        f = variant.features
        found: Shapes = {"detail_gain": ()} | layer("conv_in", f, 3, 3, 3) | layer("conv_mid", f, f, 3, 3)
        found |= layer("up.0", f * self.scale**2, f, 3, 3) | layer("conv_out", 3, f, 3, 3)
        for group in range(variant.groups):
            for block in range(variant.blocks):
                shapes = variant.shapes(f, self.has_attention, self.version == 11)
                found |= prefixed(f"body.{group}.blocks.{block}", shapes)
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
        """Blocks as far as there are tensors of them, then ``conv_mid``."""
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
    """(vertical, horizontal) of a separable filter of the base path."""
    found: dict[bool, Array] = {}
    for weight in (tensor for tensor in tensors.values() if tensor.ndim == 4):
        taps = weight.reshape(len(weight), -1)
        if (taps != taps[:1]).any():
            raise ParagonSR2Error("the base path's filters differ between R, G and B: expected the same for all three")
        found[weight.shape[2] > 1] = taps[0]
    return found[True], found[False]


def describe(shapes: Mapping[str, Sequence[int]], where: object) -> Description:
    """Recognise the network that tensors of these names and shapes are of; all else about them is to be checked.

    ``where`` begins the messages of errors.

    Raises:
        ParagonSR2Error: it is none of ours, or one that cannot be used.
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
    version = 11 if variant.window or "scale.gamma" in first else 10
    return Description(variant.name, version, scale, any(name.startswith(("attn.", "window_attn.")) for name in first))


def _describe_legacy(shapes: Mapping[str, Sequence[int]], where: object) -> Description:
    version = 8 if "base_upsampler.sharpen.source_kernel" in shapes else 7
    features = next(iter(shapes["conv_in.weight"]), 0)
    if features == PHOTO.features:
        raise ParagonSR2Error(
            f"{where}: a Photo checkpoint of version {version}, whose published code does not run outside one attention mode. "
            "Use a Photo checkpoint of version 9 or later, or Realtime or Stream of any version"
        )
    variant = next((variant for variant in LEGACY_VARIANTS.values() if variant.features == features), None)
    if variant is None:
        raise ParagonSR2Error(f"{where}: conv_in has {features} features; a version {version} checkpoint has 16 or 32")
    stages = sum(name.startswith("detail_upsampler.stages.") and name.endswith("up_conv.weight") for name in shapes)
    scale = 2**stages if stages else _scale_of(shapes, "detail_upsampler.up_conv.weight", features, where)
    if scale not in SCALES:
        raise ParagonSR2Error(f"{where}: {stages} upsampling stages; expected 2 (4x) or 3 (8x)")
    analyzer = any(name.startswith("content_processor.analyzer.") for name in shapes)
    return Description(variant.name, version, scale, has_content_processor=analyzer)


def _scale_of(shapes: Mapping[str, Sequence[int]], name: str, features: int, where: object) -> int:
    """The scale whose square times the features is the number of channels before the pixel shuffle."""
    if name not in shapes:
        raise ParagonSR2Error(f"{where}: lacks {name}, from which the scale is read")
    shape = tuple(shapes[name])
    for scale in SCALES:
        if shape[:1] == (features * scale * scale,):
            return scale
    expected = ", ".join(str(features * s * s) for s in SCALES)
    raise ParagonSR2Error(f"{where}: {name} has the shape {shape}; expected {expected} output channels (scales 2, 3, 4, 8)")
