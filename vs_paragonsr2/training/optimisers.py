"""The optimisers that a configuration can name."""

from typing import Any

import torch
from torch import nn

from .config import Optimiser


def make_optimiser(options: Optimiser, network: nn.Module) -> torch.optim.Optimizer:
    """An optimiser for those parameters of the network that are trained, which are float32.

    Each parameter group has a ``factor``, by which the step's learning rate is to be multiplied.

    SOAP (Vyas et al. 2024, from pytorch-optimizer) is Adam in the eigenbasis of each weight's gradients, which is computed again
    every ten steps. It evens out the very different slopes that products in one block after another cause.
    """
    depthwise = {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1}
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in depthwise], "factor": 1.0},
        {"params": [p for p in trained if id(p) in depthwise], "factor": options.depthwise_factor},
    ]
    parameters = [group for group in groups if group["params"]]
    settings: dict[str, Any] = {"lr": options.lr, "betas": tuple(options.betas), "weight_decay": options.weight_decay}
    if options.type == "SOAP":
        from pytorch_optimizer import SOAP  # imported here, since it takes two seconds

        return SOAP(parameters, **settings)
    return getattr(torch.optim, options.type)(parameters, **settings, fused=True)
