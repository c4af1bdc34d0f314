"""How a run starts: fresh weights that leave the linear regime, or those of a trained network.

As usually initialised, the values before each nonlinearity are so small that it is almost linear there; the gradient that
would make them larger is tiny, and training stalls at what the best linear filter gives. So the values are measured once, block
by block, and the convolution before each nonlinearity is rescaled to give them mean 0 and a chosen standard deviation.
"""

import torch
from torch import Tensor, nn

from ..checkpoints.network import Network
from ..network import ParagonSR2
from ..network.layers import LayerScale
from ..network.stream.block import StreamBlock


@torch.no_grad()
def leave_linear_regime(
    network: ParagonSR2, pictures: Tensor, *, pre_activation_std: float, residual_std: float, detail_gain: float
) -> None:
    """Rescale a freshly made network in place.

    Args:
        pictures: a sample of the training data, (N, 3, H, W), 0..1.
        pre_activation_std: wanted before each GELU; both halves of Stream's product get 1, where a product of two normal
            values has its own variance 1.
        residual_std: about what each block adds, which the convolution behind the nonlinearity is scaled by.
        detail_gain: new value of the network's ``detail_gain``.
    """
    features = network.conv_in(pictures)
    for block in network.blocks():
        for module in block.modules():
            if isinstance(module, LayerScale):
                module.gamma.fill_(1.0)
        if isinstance(block, StreamBlock):
            before, after, std = block.gate, block.out, 1.0
        else:
            before, after, std = block.dw, block.conv2, pre_activation_std
        _standardise(block, before, features, std)
        after.weight.mul_(residual_std / std)
        features = block(features)
    network.detail_gain.fill_(detail_gain)


@torch.no_grad()
def start_from(network: ParagonSR2, source: Network) -> None:
    """Take over the weights of a trained network, which may be of another scale.

    The features before the pixel shuffle differ with the scale: each phase of the new grid takes the filters of the phase of the
    old one that it lies in, so that what comes out of the shuffle is the old network's, enlarged by nearest neighbour.

    Raises ValueError where the two differ in more than scale and alpha.
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
    """(F * old * old, ...) to (F * new * new, ...), in the order of channels that a pixel shuffle has."""
    nearest = torch.arange(new, device=filters.device) * old // new
    phases = filters.unflatten(0, (-1, old, old))
    return phases[:, nearest][:, :, nearest].flatten(0, 2)


def _standardise(block: nn.Module, convolution: nn.Conv2d, features: Tensor, std: float) -> None:
    """Scale each output channel of the block's depthwise convolution to mean 0 and the standard deviation given."""
    seen: list[Tensor] = []
    hook = convolution.register_forward_hook(lambda module, args, out: seen.append(out))
    block(features)
    hook.remove()
    spread, mean = torch.std_mean(seen[0], (0, 2, 3))
    gain = std / spread.clamp_min(1e-8)
    convolution.weight.mul_(gain.view(-1, 1, 1, 1))
    assert convolution.bias is not None
    convolution.bias.sub_(mean).mul_(gain)
