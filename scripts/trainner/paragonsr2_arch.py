"""ParagonSR2 for traiNNer-redux: copy this file to traiNNer/archs, and install vs_paragonsr2 too (pip install --no-deps will do).

For each variant it has a function ``paragonsr2_VARIANT``, as ``paragonsr2_realtime``, that makes a plain PyTorch module. Where
traiNNer is installed, it registers them as architectures. Either way, the checkpoints are those of vs_paragonsr2.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from vs_paragonsr2.network import VARIANTS, ParagonSR2


def _factory(variant: str) -> Callable[..., ParagonSR2]:
    def build(scale: int = 4, *, detail_gain: float | None = None, **options: Any) -> ParagonSR2:
        network = ParagonSR2(variant, scale, **options)
        if detail_gain is not None:
            network.detail_gain.data.fill_(detail_gain)
        return network

    # Registries know a function by its name.
    build.__name__ = build.__qualname__ = f"paragonsr2_{variant}"
    build.__doc__ = f"Make the {variant} network. The options are those of ParagonSR2; detail_gain is the parameter's first value."
    return build


ARCHITECTURES = {f"paragonsr2_{variant}": _factory(variant) for variant in VARIANTS}
globals().update(ARCHITECTURES)

if find_spec("traiNNer"):
    from traiNNer.utils.registry import ARCH_REGISTRY

    for _build in ARCHITECTURES.values():
        ARCH_REGISTRY.register()(_build)
