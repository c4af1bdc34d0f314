"""From a checkpoint to a network in PyTorch."""

import os

import torch

from ..network import LegacyParagonSR2, ParagonSR2
from ..network.variant import AttentionMode
from ..support.errors import ParagonSR2Error
from . import load_checkpoint

Network = ParagonSR2 | LegacyParagonSR2


def load_network(path: str | os.PathLike[str], *, alpha: float | None = None, attention_mode: AttentionMode = "sdpa") -> Network:
    """Load a checkpoint of any version as a PyTorch module.

    Args:
        path: the file, as :func:`~..checkpoints.load_checkpoint` takes it.
        alpha: blend of the base path's low-pass, as :func:`~..checkpoints.load_checkpoint` takes it.
        attention_mode: ``"sdpa"`` or ``"flex"``, which is how window attention is computed where the checkpoint has it.

    Returns:
        The network in eval mode and float32, on the CPU, with the attributes ``variant``, ``scale``, ``version`` (11; 10 for
        versions 9 and 10, which do not differ; 8; 7) and ``alpha``.

    Raises:
        ParagonSR2Error: as :func:`~..checkpoints.load_checkpoint`, and for another ``attention_mode``.
    """
    if attention_mode not in ("sdpa", "flex"):
        raise ParagonSR2Error(f"attention_mode is {attention_mode!r}: expected 'sdpa' or 'flex'")
    checkpoint = load_checkpoint(path, alpha)
    what = checkpoint.description
    # Another script may have changed PyTorch's defaults, but float32 on the CPU is promised.
    with torch.device("cpu"):
        network: Network
        if what.is_legacy:
            network = LegacyParagonSR2(
                what.variant,
                what.scale,
                what.version,
                upsampler_alpha=checkpoint.alpha,
                content_processor=what.has_content_processor,
            )
        else:
            network = ParagonSR2(
                what.variant,
                what.scale,
                upsampler_alpha=checkpoint.alpha,
                attention_mode=attention_mode if what.has_attention else None,
                version=what.version,
            )
        network = network.float()
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in checkpoint.tensors.items()}, strict=True)
    return network.eval()
