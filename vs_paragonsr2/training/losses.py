"""Losses under the names that configurations have for them. All take (N, 3, H, W) of float32, 0..1, and give a scalar."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..program.colour import Matrix, rgb_to_yuv

HUBER_DELTA = 0.1
"""Of 0..1."""

LUMA = rgb_to_yuv(Matrix.ST170_M)[0]
"""Of R, G and B in the luma that figures are of."""
COLOUR_SHARE = 0.2
"""Of all three channels' squared error in a loss of luma: what video shows of colour has half the resolution."""

PSNR_FLOOR = 1e-3
"""The mean squared error, of 0..1, below which a picture counts less and less: 30 dB, so that flat patches do not lead."""

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, the finest first (Wang, Simoncelli and Bovik, 2003)."""
MS_SSIM_WINDOW = 11


def l1_loss(out: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (out - target).abs().mean()


def mse_loss(out: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference: what PSNR is made of, for the last steps of a run that is judged by it."""
    return (out - target).square().mean()


def huber_loss(out: Tensor, target: Tensor) -> Tensor:
    """Half the squared difference below ``HUBER_DELTA``, linear beyond: for data in which a few pixels are off by far."""
    return F.huber_loss(out, target, delta=HUBER_DELTA)


def psnr_loss(out: Tensor, target: Tensor, colour: float = 1.0) -> Tensor:
    """Mean over the pictures of log(1 + MSE / ``PSNR_FLOOR``): each counts by its PSNR, and none outweighs the rest by being hard.

    The MSE is ``colour`` parts that of the three channels, and luma's for the rest.
    """
    error = out - target
    squares = colour * error.square().mean((1, 2, 3))
    if colour < 1:
        luma = torch.einsum("nchw,c->nhw", error, torch.from_numpy(LUMA).to(error))
        squares = squares + (1 - colour) * luma.square().mean((1, 2))
    return squares.div(PSNR_FLOOR).log1p().mean()


def msssim_loss(out: Tensor, target: Tensor) -> Tensor:
    """1 - MS-SSIM, of as many of its five scales as leave room for the window, on at least 11 pixels a side.

    Each term x is taken as (x + 1) / 2: those of unlike pictures can be below zero, where the powers have no gradient.
    """
    # Imported where it is used: it is needed by few runs, and not small.
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
