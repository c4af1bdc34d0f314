"""One training run: steps, averaged weights, validation, a log, and a state to resume from."""

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
    norm: float
    """Median of the gradient's, before it was clipped: what ``grad_clip`` is to be a few times of."""
    steps_per_second: float
    psnr: float | None


def mean_psnr(network: Network, pairs: list[Pair], scale: int) -> float:
    """Mean luma PSNR in dB over the pairs."""
    device = next(network.parameters()).device
    return float(np.mean([psnr_luma(upscale_picture(network, pair.low, device), pair.high, scale) for pair in pairs]))


class Trainer:
    """A run in the folder ``out``: ``log.jsonl`` and its ``plot.png``, ``state.pt`` to resume from, and the averaged weights."""

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
        """Train to ``total_iter``, from where the run stands, or until :meth:`stop`."""
        batches = Ahead(self.sampler.sample)
        try:
            self._run(batches, report)
        finally:
            batches.close()

    def stop(self) -> None:
        """Have :meth:`run` save and return after the step that it is in. A signal handler or another thread may call this."""
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
        """Warm-up from zero, then a cosine to ``eta_min``."""
        train = self.config.train
        if step < train.warmup_iter:
            return train.optim_g.lr * (step + 1) / train.warmup_iter
        done = (step - train.warmup_iter) / max(1, train.total_iter - train.warmup_iter)
        floor = train.scheduler.eta_min
        return floor + (train.optim_g.lr - floor) * (1 + math.cos(math.pi * done)) / 2

    def _on_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Low and high resolution of a batch, float32, 0..1 or stretched. The bytes travel while the device is still at work."""
        cuda = self.device.type == "cuda"
        low, high = ((x.pin_memory() if cuda else x).to(self.device, non_blocking=True) for x in batch)
        low, high = low.float() / 255, high.float() / 255
        if probability := self.config.datasets.train.stretch_prob:
            return stretched(low, high, probability, np.random.default_rng((self.config.manual_seed, self.step, 2)))
        return low, high

    def _train_step(self, low: Tensor, high: Tensor) -> Tensor:
        """The loss and the norm of its gradient, which stay on the device."""
        train = self.config.train
        low, high = (x.contiguous(memory_format=torch.channels_last) for x in (low, high))
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(self.step) * group["factor"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.use_amp):
            out = self.forward(low).float()
        # The outermost pixels have the network's zeros about them, which a filter never shows.
        rim = self.config.scale
        inner = [picture[..., rim:-rim, rim:-rim] for picture in (out, high)]
        losses = (entry.loss_weight * LOSSES[entry.type](*inner) for entry in train.losses)
        loss = sum(losses, low.new_zeros(()))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_grad_norm_(self.network.parameters(), train.grad_clip or math.inf)
        self._add_span(norm.clamp_max(train.grad_clip or math.inf))
        self.optimiser.step()
        self.step += 1
        # A short memory at first, so that the average does not drag the untrained weights along.
        keep = min(train.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for average, trained in zip(self.average.parameters(), self.network.parameters(), strict=True):
                average.lerp_(trained, 1 - keep)
        return torch.stack([loss.detach(), norm.detach()])

    def _add_span(self, norm: Tensor) -> None:
        """Add the gradient of features that exceed the span, as a fixed share of the one that is there.

        It is large and rare by nature; taken as it comes, the optimiser would measure all its steps by it.
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
        """Take over a trained network's weights, or have fresh ones leave the linear regime."""
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
        """Write state and checkpoint, each whole or not at all.

        Raises ParagonSR2Error, and leaves what was saved before, where a weight is not finite any more.
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
        """Go on where ``state.pt`` stands; what the log says of later steps will be done again, and is dropped from it."""
        path = self.out / "state.pt"
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            config = state["config"]
        except Exception as error:  # a damaged archive fails in many ways inside the reader
            raise ParagonSR2Error(f"{path}: no state of a run ({type(error).__name__}); use another folder") from error
        # The states of earlier versions lack keys whose defaults are what they had.
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
        # The last one may have been cut off by what ended the run.
        whole = [line for line in lines if line.endswith("}\n")]
        rest = self.log.with_suffix(".part")
        rest.write_text("".join(line for line in whole if json.loads(line)["step"] <= self.step), encoding="utf-8")
        rest.replace(self.log)

    def _fixed(self) -> dict[str, Any]:
        """What of the configuration a run has to keep to end as it would have without an interruption."""
        config = asdict(self.config)
        data = config["datasets"]["train"]
        # Where the pictures lie may change, and how many of them are kept in memory changes nothing.
        del data["dataroot_gt"], data["tile_memory_mib"]
        return {key: config[key] for key in ("scale", "manual_seed", "use_amp", "network_g", "train")} | {"datasets.train": data}


def save_checkpoint(network: ParagonSR2, path: Path) -> None:
    """Write a network as a ``.safetensors`` checkpoint with its metadata, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    kwargs = {"upsampler_alpha": network.alpha}
    metadata = {"variant": network.variant, "scale": str(network.scale), "kwargs": json.dumps(kwargs)}
    part = path.with_suffix(".part")
    safetensors.torch.save_file(tensors, part, metadata)
    part.replace(path)
