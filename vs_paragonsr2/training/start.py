"""How a run starts: from fresh weights that leave the linear regime, or from those of a trained network.

As usually initialised, the values before each nonlinearity are so small that it is almost linear there. The gradient that would
make them larger is tiny, and training stalls at what the best linear filter gives. So the values are measured once, block by block,
and the convolution before each nonlinearity is rescaled to give them the mean 0 and a chosen standard deviation.
"""

import torch
from torch import Tensor, nn

from ..checkpoints.network import Network
from ..network import ParagonSR2
from ..network.layers import LayerScale


@torch.no_grad()
def leave_linear_regime(
    network: ParagonSR2, pictures: Tensor, *, pre_activation_std: float, residual_std: float, detail_gain: float
) -> None:
    """Rescale a freshly made network in place.

    Args:
        pictures: a sample of the training data, (N, 3, H, W), 0..1.
        pre_activation_std: standard deviation wanted before each nonlinearity for which its block wants no other.
        residual_std: about the standard deviation of what each block adds, for which the convolution behind the nonlinearity is
            rescaled.
        detail_gain: new value of the network's ``detail_gain``.
    """
    features = network.conv_in(pictures)
    for block in network.blocks():
        for module in block.modules():
            if isinstance(module, LayerScale):
                module.gamma.fill_(1.0)
        layers = block.nonlinearity
        std = pre_activation_std if layers.std is None else layers.std
        _standardise(layers.before, block.pre_activations(features), std)
        layers.after.weight.mul_(residual_std / std)
        features = block(features)
    network.detail_gain.fill_(detail_gain)


@torch.no_grad()
def start_from(network: ParagonSR2, source: Network) -> None:
    """Take over the weights of a trained network, which may be of another scale.

    The features before the pixel shuffle differ with the scale. Each phase of the new grid takes the filters of that phase of the
    old grid in which it lies, so that what comes out of the shuffle is that of the old network, enlarged by nearest neighbour.

    Raises ValueError where the networks differ in more than scale and alpha.
    """
    for what in ("variant", "version"):
        old, new = getattr(source, what), getattr(network, what)
        if old != new:
            raise ValueError(f"its {what} is {old}: expected {new}")
    tensors = dict(source.state_dict())
    for name in ("up.0.weight", "up.0.bias"):
        tensors[name] = _repeat_phases(tensors[name], source.scale, network.scale)
    network.load_state_dict(tensors)


def _repeat_phases(filters: Tensor, old: int, new: int) -> Tensor:
    """(C * old * old, ...) to (C * new * new, ...), in the order of channels that a pixel shuffle has."""
    nearest = torch.arange(new, device=filters.device) * old // new
    phases = filters.unflatten(0, (-1, old, old))
    return phases[:, nearest][:, :, nearest].flatten(0, 2)


def _standardise(convolution: nn.Conv2d, outputs: Tensor, std: float) -> None:
    """Rescale each output channel of a convolution, given its outputs, to the mean 0 and this standard deviation."""
    spread, mean = torch.std_mean(outputs, (0, 2, 3))
    gain = std / spread.clamp_min(1e-8)
    convolution.weight.mul_(gain.view(-1, 1, 1, 1))
    assert convolution.bias is not None
    convolution.bias.sub_(mean).mul_(gain)
