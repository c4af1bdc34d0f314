"""The losses, under the names that configurations have for them.

Each takes the network's output and its target, both (N, 3, H, W), float32, nominally 0..1, and gives a scalar.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..program.colour import Matrix, rgb_to_yuv

HUBER_DELTA = 0.1
"""The difference at which the Huber loss turns from a square to a straight line, on the scale of 0..1."""

LUMA = rgb_to_yuv(Matrix.ST170_M)[0]
"""Weights of R, G and B in luma, as PSNR is measured."""

COLOUR_SHARE = 0.2
"""Share of the squared error of R, G and B in a loss of luma. It is small, since video has chroma at half the resolution."""

PSNR_FLOOR = 1e-3
"""The mean squared error of a PSNR of 30 dB. Below it, a picture counts less and less, so that flat patches do not dominate."""

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales, the finest first (Wang, Simoncelli and Bovik, 2003)."""

MS_SSIM_WINDOW = 11
"""Side of the window that SSIM's means are taken in, in pixels."""


def l1_loss(out: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (out - target).abs().mean()


def mse_loss(out: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference, from which PSNR is computed: for the last steps of a run that is judged by PSNR."""
    return (out - target).square().mean()


def huber_loss(out: Tensor, target: Tensor) -> Tensor:
    """Half the squared difference up to ``HUBER_DELTA``, linear beyond: for data in which a few pixels are far off."""
    return F.huber_loss(out, target, delta=HUBER_DELTA)


def psnr_loss(out: Tensor, target: Tensor, colour: float = 1.0) -> Tensor:
    """Mean of log(1 + MSE / ``PSNR_FLOOR``) over the pictures: each counts by its PSNR, so that a hard one does not dominate.

    ``colour`` is the share of the three channels in the MSE; the rest is that of luma.
    """
    error = out - target
    squares = colour * error.square().mean((1, 2, 3))
    if colour < 1:
        luma = torch.einsum("nchw,c->nhw", error, torch.from_numpy(LUMA).to(error))
        squares = squares + (1 - colour) * luma.square().mean((1, 2))
    return squares.div(PSNR_FLOOR).log1p().mean()


def msssim_loss(out: Tensor, target: Tensor) -> Tensor:
    """1 - MS-SSIM, over as many of its five scales as the pictures are large enough for. They have at least 11 pixels a side.

    Each term x enters as (x + 1) / 2, since for unlike pictures x can be below zero, where the powers have no gradient.
    """
    # Imported here, since it takes long and few runs need it.
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as msssim

    side = min(out.shape[-2:])
    scales = max(1, sum(side // max(1, n) ** 2 >= MS_SSIM_WINDOW and side >> n >= MS_SSIM_WINDOW for n in range(5)))
    weights = MS_SSIM_WEIGHTS[:scales]
    betas = tuple(weight / sum(weights) for weight in weights)
    value = msssim(out, target, kernel_size=MS_SSIM_WINDOW, data_range=1.0, betas=betas, normalize="simple")
    assert isinstance(value, Tensor)
    return 1 - value


def fft_loss(out: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the real and imaginary parts of the orthonormal Fourier transforms."""
    return torch.view_as_real(torch.fft.rfft2(out - target, norm="ortho")).abs().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "L1Loss": l1_loss,
    "MSELoss": mse_loss,
    "HuberLoss": huber_loss,
    "PSNRLoss": psnr_loss,
    "LumaPSNRLoss": partial(psnr_loss, colour=COLOUR_SHARE),
    "MSSSIMLoss": msssim_loss,
    "FFTLoss": fft_loss,
}
