"""ParagonSR2 for traiNNer-redux: copy this file to traiNNer/archs, and install vs_paragonsr2 too (pip install --no-deps will do).

It registers ``paragonsr2_realtime``, ``_stream``, ``_photo`` and ``_pro`` where traiNNer is installed. Where it is not, they are
functions that make plain PyTorch modules. Their checkpoints are those of vs_paragonsr2, either way.
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
    build.__doc__ = f"ParagonSR2 {variant}: options as those of ParagonSR2, and the value that detail_gain starts with."
    return build


paragonsr2_realtime, paragonsr2_stream, paragonsr2_photo, paragonsr2_pro = map(_factory, VARIANTS)

if find_spec("traiNNer"):
    from traiNNer.utils.registry import ARCH_REGISTRY

    for _build in (paragonsr2_realtime, paragonsr2_stream, paragonsr2_photo, paragonsr2_pro):
        ARCH_REGISTRY.register()(_build)
