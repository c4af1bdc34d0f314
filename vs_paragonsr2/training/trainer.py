"""A training run: steps, averaged weights, validation, a log, and a state to resume from."""

import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ..checkpoints.network import Network, load_network
from ..evaluation.metrics import psnr_luma
from ..evaluation.pairs import Pair, read_pairs
from ..evaluation.upscalers import upscale_picture
from ..network import ParagonSR2
from ..support.errors import ParagonSR2Error
from .config import TrainDataset, TrainingConfig
from .data import Ahead, Batch, PatchSampler, stretched
from .forward import training_forward
from .losses import LOSSES
from .optimisers import make_optimiser
from .plot import plot_run
from .span import balance, excess, harsh_picture
from .start import leave_linear_regime, start_from


@dataclass(frozen=True)
class Progress:
    """What a caller may show after each logged step."""

    step: int
    loss: float
    """Mean over the steps since the last log."""
    norm: float
    """Median norm of the gradient over these steps, before it was clipped. ``grad_clip`` should be a few times as large."""
    steps_per_second: float
    psnr: float | None
    """Mean luma PSNR of the validation pictures in dB; None where it was not measured at this step."""


def mean_psnr(network: Network, pairs: list[Pair], scale: int) -> float:
    """Mean luma PSNR in dB over the pairs."""
    device = next(network.parameters()).device
    return float(np.mean([psnr_luma(upscale_picture(network, pair.low, device), pair.high, scale) for pair in pairs]))


class Trainer:
    """A run in the folder ``out``, which holds ``log.jsonl``, its ``plot.png``, the averaged weights, and a state to resume from.

    Raises ParagonSR2Error where the data or the weights to start from cannot be used, or the folder has another run.
    """

    def __init__(self, config: TrainingConfig, out: Path, device: torch.device) -> None:
        self.config, self.out, self.device = config, out, device
        self.log = out / "log.jsonl"
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.manual_seed)
        self.sampler = PatchSampler(config.datasets.train, config.scale, config.manual_seed)
        self.pairs = read_pairs(config.datasets.val.dataroot, config.scale) if config.datasets.val else []
        self.network = config.network_g.build(config.scale).to(device).to(memory_format=torch.channels_last)
        self.forward = training_forward(self.network, device)
        self.step = 0
        self.stopping = False
        resumed = (out / "state.pt").exists()
        if not resumed:
            self._start()
        self.average = deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = make_optimiser(config.train.optim_g, self.network)
        if resumed:
            self._load_state()

    def run(self, report: Callable[[Progress], None]) -> None:
        """Train from where the run stands to ``total_iter``, or until :meth:`stop` is called.

        Raises ParagonSR2Error where the loss or a weight is not finite any more.
        """
        batches = Ahead(self.sampler.sample)
        try:
            self._run(batches, report)
        finally:
            batches.close()

    def stop(self) -> None:
        """Make :meth:`run` save and return after the current step. A signal handler or another thread may call this."""
        self.stopping = True

    def _run(self, batches: Ahead[Batch], report: Callable[[Progress], None]) -> None:
        every, total = self.config.logger.print_freq, self.config.train.total_iter
        saved = since = time.monotonic()
        plotted = True
        seen: list[Tensor] = []
        while self.step < total:
            seen.append(self._train_step(*self._on_device(batches[self.step])))
            last = self.step == total
            measured = bool(self.pairs) and (self.step % self.config.val.val_freq == 0 or last)
            if self.step % every == 0 or measured or last:
                rate = len(seen) / (time.monotonic() - since)
                losses, norms = torch.stack(seen).cpu().unbind(1)
                loss = float(losses.mean())
                if not math.isfinite(loss):
                    raise ParagonSR2Error(f"the loss is {loss} at step {self.step}: lower train.optim_g.lr or train.grad_clip")
                psnr = mean_psnr(self.average, self.pairs, self.config.scale) if measured else None
                progress = Progress(self.step, loss, float(norms.median()), rate, psnr)
                self._log(progress)
                report(progress)
                plotted = False
                seen.clear()
                since = time.monotonic()
            if last or self.stopping or time.monotonic() - saved > self.config.logger.save_checkpoint_seconds:
                self._save()
                if not plotted:
                    plot_run(self.log, self.out / "plot.png")
                    plotted = True
                saved = time.monotonic()
            if self.stopping:
                return

    def learning_rate(self, step: int) -> float:
        """The learning rate at a step: it rises from zero in the warm-up, then falls along a cosine to ``eta_min``."""
        train = self.config.train
        if step < train.warmup_iter:
            return train.optim_g.lr * (step + 1) / train.warmup_iter
        done = (step - train.warmup_iter) / max(1, train.total_iter - train.warmup_iter)
        floor = train.scheduler.eta_min
        return floor + (train.optim_g.lr - floor) * (1 + math.cos(math.pi * done)) / 2

    def _on_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Low and high resolution of a batch in float32, 0..1 or stretched. They are copied while the device is still computing."""
        cuda = self.device.type == "cuda"
        low, high = ((x.pin_memory() if cuda else x).to(self.device, non_blocking=True) for x in batch)
        low, high = low.float() / 255, high.float() / 255
        if probability := self.config.datasets.train.stretch_prob:
            return stretched(low, high, probability, np.random.default_rng((self.config.manual_seed, self.step, 2)))
        return low, high

    def _train_step(self, low: Tensor, high: Tensor) -> Tensor:
        """Do one step. Returns the loss and the norm of its gradient, (2,), which stay on the device."""
        train = self.config.train
        low, high = (x.contiguous(memory_format=torch.channels_last) for x in (low, high))
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(self.step) * group["factor"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.use_amp):
            out = self.forward(low).float()
        # The outermost pixels depend on the network's zero padding, which the filter never shows.
        crop = self.config.scale
        inner = [picture[..., crop:-crop, crop:-crop] for picture in (out, high)]
        losses = (entry.loss_weight * LOSSES[entry.type](*inner) for entry in train.losses)
        loss = sum(losses, low.new_zeros(()))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_grad_norm_(self.network.parameters(), train.grad_clip or math.inf)
        self._add_span(norm.clamp_max(train.grad_clip or math.inf))
        self.optimiser.step()
        self.step += 1
        # The average forgets faster at first, so that it does not keep the untrained weights.
        keep = min(train.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for average, trained in zip(self.average.parameters(), self.network.parameters(), strict=True):
                average.lerp_(trained, 1 - keep)
        return torch.stack([loss.detach(), norm.detach()])

    def _add_span(self, norm: Tensor) -> None:
        """Add the gradient of features beyond the limit, scaled to a fixed share of ``norm``, the norm of the gradient so far.

        By nature it is large and rare. Unscaled, it would determine the length of all steps of the optimiser.
        """
        span = self.config.train.span
        if span is None or self.step % span.every:
            return
        rng = np.random.default_rng((self.config.manual_seed, self.step, 1))
        beyond = excess(self.network, harsh_picture(rng).to(self.device), span.limit)
        trained = [p for p in self.network.parameters() if p.grad is not None]
        gradients = torch.autograd.grad(beyond, trained, allow_unused=True, materialize_grads=True)
        own = torch.stack([gradient.norm() for gradient in gradients]).norm()
        if own > 0:
            for parameter, gradient in zip(trained, gradients, strict=True):
                assert parameter.grad is not None
                parameter.grad.add_(gradient * (span.share * norm / own))

    def _start(self) -> None:
        """Take over the weights of a trained network, or make fresh ones leave the linear regime."""
        path, start = self.config.path.pretrain_network_g, self.config.train.start
        if path is not None:
            try:
                start_from(self.network, load_network(path))
            except ValueError as error:
                raise ParagonSR2Error(f"path.pretrain_network_g is {path}: {error}") from error
        elif start.enabled:
            low, _ = self._on_device(self.sampler.sample(0))
            leave_linear_regime(
                self.network,
                low,
                pre_activation_std=start.pre_activation_std,
                residual_std=start.residual_std,
                detail_gain=start.detail_gain,
            )

    def _log(self, progress: Progress) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({key: getattr(progress, key) for key in ("step", "loss", "norm", "psnr")}) + "\n")

    def _state(self) -> dict[str, Any]:
        return {
            "config": self._fixed(),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def _save(self) -> None:
        """Write the state and the checkpoint. Each file is replaced only when the new one is complete.

        Where a weight is not finite any more, it raises ParagonSR2Error and leaves what was saved before.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self.network.parameters()):
            raise ParagonSR2Error(
                f"the weights are not finite at step {self.step}: lower train.optim_g.lr or train.grad_clip, in another folder"
            )
        part = self.out / "state.pt.part"
        torch.save(self._state(), part)
        part.replace(self.out / "state.pt")
        network, span = self.average, self.config.train.span
        if span and self.step == self.config.train.total_iter:
            network = deepcopy(network)
            balance(network, span.limit)
        save_checkpoint(network, self.out / f"{self.config.name}.safetensors")

    def _load_state(self) -> None:
        """Go on from ``state.pt``. Later steps will be done again, so what the log says about them is dropped."""
        path = self.out / "state.pt"
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            config = state["config"]
        except Exception as error:  # on a damaged archive, PyTorch raises errors of many kinds
            raise ParagonSR2Error(f"{path}: no state of a run ({type(error).__name__}); use another folder") from error
        # States that were written before a key was added lack it. They had what is its default now.
        for part, current in self._fixed().items():
            earlier = config.get(part, current)
            if part == "datasets.train":
                defaults = asdict(TrainDataset(dataroot_gt=[]))
                earlier = {key: defaults[key] for key in current} | earlier
            if earlier != current:
                raise ParagonSR2Error(f"{part} is {current}: the run in {self.out} has {earlier}; use another folder")
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True) if self.log.exists() else []
        # The last line is incomplete if the run was killed while it was written.
        whole = [line for line in lines if line.endswith("}\n")]
        rest = self.log.with_suffix(".part")
        rest.write_text("".join(line for line in whole if json.loads(line)["step"] <= self.step), encoding="utf-8")
        rest.replace(self.log)

    def _fixed(self) -> dict[str, Any]:
        """The part of the configuration that must not change if a run is to end as without an interruption."""
        config = asdict(self.config)
        data = config["datasets"]["train"]
        # The pictures may have moved, and how many of them are kept in memory changes nothing.
        del data["dataroot_gt"], data["tile_memory_mib"]
        return {key: config[key] for key in ("scale", "manual_seed", "use_amp", "network_g", "train")} | {"datasets.train": data}


def save_checkpoint(network: ParagonSR2, path: Path) -> None:
    """Write a network and its metadata as a ``.safetensors`` checkpoint. The file is replaced only when the new one is complete."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    kwargs = {"upsampler_alpha": network.alpha}
    metadata = {"variant": network.variant, "scale": str(network.scale), "kwargs": json.dumps(kwargs)}
    part = path.with_suffix(".part")
    safetensors.torch.save_file(tensors, part, metadata)
    part.replace(path)
