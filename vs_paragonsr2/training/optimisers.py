"""The optimisers that a configuration can name."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .config import Optimiser


def make_optimiser(options: Optimiser, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """An optimiser for the parameters, which are float32.

    SOAP (Vyas et al. 2024, pytorch-optimizer's) is Adam in the eigenbasis of each weight's gradients, found anew every ten steps.
    Stream's products, one block after another, make directions of very different slopes, which it evens out.
    """
    settings: dict[str, Any] = {"lr": options.lr, "betas": tuple(options.betas), "weight_decay": options.weight_decay}
    if options.type == "SOAP":
        from pytorch_optimizer import SOAP  # here, since its import takes two seconds

        return SOAP(parameters, **settings)
    return getattr(torch.optim, options.type)(parameters, **settings, fused=True)
