"""The losses of training."""

import math

import pytest
import torch

from vs_paragonsr2.training.losses import LOSSES


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_zero_for_equal_pictures_alone(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 96, 96, generator=generator)
    assert LOSSES[name](target, target) == pytest.approx(0, abs=1e-6)
    near, far = (target + scale * torch.randn(target.shape, generator=generator) for scale in (0.01, 0.1))
    assert 0 < LOSSES[name](near, target) < LOSSES[name](far, target)
    opposite = (1 - target).requires_grad_()
    LOSSES[name](opposite, target).backward()
    assert opposite.grad is not None
    assert torch.isfinite(opposite.grad).all()
    assert opposite.grad.abs().max() > 0


@pytest.mark.parametrize("side", [11, 22, 44, 96, 192])
def test_ms_ssim_takes_patches_of_every_size(side: int) -> None:
    pictures = torch.rand(2, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
    assert 0 < LOSSES["MSSSIMLoss"](pictures[0], pictures[1]) < 1


def test_squares_and_what_is_linear_beyond() -> None:
    target = torch.zeros(1, 3, 8, 8)
    assert LOSSES["MSELoss"](target + 2, target) == pytest.approx(4)
    assert LOSSES["HuberLoss"](target + 0.06, target) == pytest.approx(0.06**2 / 2)
    assert LOSSES["HuberLoss"](target + 2, target) == pytest.approx(0.1 * (2 - 0.05))


def test_pictures_count_by_their_psnr() -> None:
    """30 dB of one and 20 dB of the other: log(1 + 1) and log(1 + 10)."""
    target = torch.zeros(2, 3, 8, 8)
    off = torch.tensor([1e-3, 1e-2]).sqrt()[:, None, None, None]
    assert LOSSES["PSNRLoss"](target + off, target) == pytest.approx((math.log(2) + math.log(11)) / 2)
    assert LOSSES["LumaPSNRLoss"](target + off, target) == pytest.approx((math.log(2) + math.log(11)) / 2)


def test_colour_counts_a_fifth_of_its_squares() -> None:
    target = torch.zeros(1, 3, 8, 8)
    out = target.clone()
    out[:, 0], out[:, 1] = 0.587, -0.299  # of no luma
    squares = (0.587**2 + 0.299**2) / 3
    assert LOSSES["LumaPSNRLoss"](out, target) == pytest.approx(math.log(1 + 0.2 * squares / 1e-3))
    assert LOSSES["PSNRLoss"](out, target) == pytest.approx(math.log(1 + squares / 1e-3))


def test_the_fourier_loss_is_the_mean_over_the_spectrum() -> None:
    """A difference of one everywhere is the zero frequency alone: sqrt(96 * 96) of it, spread over 96 x 49 complex values."""
    target = torch.zeros(1, 3, 96, 96)
    assert LOSSES["FFTLoss"](target + 1, target) == pytest.approx(96 / (96 * 49 * 2))
