"""A training run as a YAML file, with the names of traiNNer-redux for what both have."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, cast

import yaml

from ..network import ParagonSR2
from ..support.errors import ParagonSR2Error
from .degradation_config import Degradation, check_degradation
from .losses import LOSSES
from .parsing import build

PREFIX = "paragonsr2_"

LEAST_PATCH = 8
"""Pixels on a side; the outermost ones are left out of the loss."""


@dataclass(kw_only=True)
class NetworkOptions:
    """``network_g``: type ``paragonsr2_<variant>`` and the arguments of :class:`ParagonSR2`."""

    type: str
    scale: int | None = None
    """Upsampling factor; None takes the file's ``scale``."""
    upsampler_alpha: float | None = None
    attention_mode: str | None = "sdpa"
    export_safe: bool = False
    use_checkpointing: bool = False

    def build(self, scale: int) -> ParagonSR2:
        """The network with fresh weights."""
        if not self.type.startswith(PREFIX):
            raise ParagonSR2Error(f"network_g.type is {self.type!r}: expected {PREFIX}realtime, _stream, _photo or _pro")
        arguments = dataclasses.asdict(self)
        del arguments["type"], arguments["scale"]
        try:
            return ParagonSR2(self.type.removeprefix(PREFIX), self.scale or scale, **arguments)
        except ValueError as error:
            raise ParagonSR2Error(f"network_g: {error}") from error


@dataclass(kw_only=True)
class TrainDataset:
    """``datasets.train``."""

    dataroot_gt: list[Path]
    """Tar shards of lossless pictures, or folders of shards."""
    lq_size: int = 48
    """Side of a low-resolution patch in pixels."""
    batch_size_per_gpu: int = 16
    use_hflip: bool = True
    use_rot: bool = True
    drawn_prob: float = 0.0
    """Ours: share of the patches without degradation that are drawn (see ``drawings.py``)."""
    pattern_prob: float = 0.0
    """Ours: share of the patches without degradation that are patterns of single pixels, likewise."""
    stretch_prob: float = 0.0
    """Ours: share of the patches whose channels are stretched and shifted beyond 0..1, as YUV can be (see ``data.py``)."""
    tile_memory_mib: int = 1024
    """Most memory that decoded pictures take; where they need more, those not used lately are read again."""
    degradation: Degradation | None = None
    """None for clean sources."""


@dataclass(kw_only=True)
class ValDataset:
    """``datasets.val``: one folder of ``NAME_hr.png`` and ``NAME_lr.png``."""

    dataroot: Path


@dataclass(kw_only=True)
class Datasets:
    """``datasets``."""

    train: TrainDataset
    val: ValDataset | None = None


@dataclass(kw_only=True)
class Paths:
    """``path``."""

    pretrain_network_g: Path | None = None
    """A checkpoint of the same variant and of any scale to start from (a 2x model starts a 4x one), in place of ``train.start``."""


@dataclass(kw_only=True)
class Optimiser:
    """``train.optim_g``."""

    NAMES: ClassVar[tuple[str, ...]] = ("AdamW", "Adam", "SOAP")
    type: str = "AdamW"
    lr: float = 2e-3
    weight_decay: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    depthwise_factor: float = 1.0
    """Ours: the learning rate of depthwise weights, relative to ``lr``. A start that leaves the linear regime makes them 10 to 22
    in size, and steps of the usual length hardly move them."""


@dataclass(kw_only=True)
class Scheduler:
    """``train.scheduler``."""

    NAMES: ClassVar[tuple[str, ...]] = ("CosineAnnealingLR",)
    type: str = "CosineAnnealingLR"
    eta_min: float = 0.0


@dataclass(kw_only=True)
class Loss:
    """One entry of ``train.losses``."""

    NAMES: ClassVar[tuple[str, ...]] = tuple(LOSSES)
    type: str = "L1Loss"
    loss_weight: float = 1.0


@dataclass(kw_only=True)
class Start:
    """``train.start``, ours: how the values before each nonlinearity are rescaled once (see ``start.py``)."""

    enabled: bool = True
    pre_activation_std: float = 2.0
    residual_std: float = 0.3
    detail_gain: float = 1.0


@dataclass(kw_only=True)
class Span:
    """``train.span``, ours: what keeps the features within half precision (see ``span.py``)."""

    limit: float = 4096.0
    """Largest absolute value that costs nothing."""
    share: float = 0.1
    """Norm of this loss's gradient, where it is not zero, relative to that of the others."""
    every: int = 2
    """Steps from one picture of noise to the next."""


@dataclass(kw_only=True)
class Train:
    """``train``."""

    total_iter: int
    ema_decay: float = 0.999
    grad_clip: float = 0.3
    """Largest gradient norm; 0 for no limit. A few times the usual one, which ``log.jsonl`` has, is best: one batch far beyond it
    shortens all steps of the next hundreds. The usual one depends on the losses: Huber's is a twentieth of L1's."""
    warmup_iter: int = 0
    optim_g: Optimiser = field(default_factory=Optimiser)
    scheduler: Scheduler = field(default_factory=Scheduler)
    losses: list[Loss] = field(default_factory=lambda: [Loss()])
    start: Start = field(default_factory=Start)
    span: Span | None = None
    """None for no such loss."""


@dataclass(kw_only=True)
class Validation:
    """``val``."""

    val_freq: int = 1000
    """Steps between two measurements."""


@dataclass(kw_only=True)
class Logger:
    """``logger``."""

    print_freq: int = 100
    save_checkpoint_seconds: float = 60.0
    """Longest time whose work an interruption can lose."""


@dataclass(kw_only=True)
class TrainingConfig:
    """The whole file."""

    name: str
    scale: int
    network_g: NetworkOptions
    datasets: Datasets
    train: Train
    path: Paths = field(default_factory=Paths)
    val: Validation = field(default_factory=Validation)
    logger: Logger = field(default_factory=Logger)
    manual_seed: int = 0
    use_amp: bool = False
    """bfloat16 autocast."""


def load_config(path: Path) -> TrainingConfig:
    """Read a training configuration.

    Raises ParagonSR2Error, naming the key and its place, where one is unknown, missing or of another type.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ParagonSR2Error(f"{path}: no readable YAML file ({error})") from error
    config = cast(TrainingConfig, build(TrainingConfig, tree, ""))
    _check_values(config)
    return config


def _check_values(config: TrainingConfig) -> None:
    """Refuse numbers that cannot be worked with."""
    train, data = config.train, config.datasets.train
    for key, value, least in (
        ("datasets.train.lq_size", data.lq_size, LEAST_PATCH),
        ("datasets.train.batch_size_per_gpu", data.batch_size_per_gpu, 1),
        ("datasets.train.tile_memory_mib", data.tile_memory_mib, 0),
        ("manual_seed", config.manual_seed, 0),
        ("train.total_iter", train.total_iter, 1),
        ("train.warmup_iter", train.warmup_iter, 0),
        ("val.val_freq", config.val.val_freq, 1),
        ("logger.print_freq", config.logger.print_freq, 1),
        ("train.grad_clip", train.grad_clip, 0),
        ("train.optim_g.lr", train.optim_g.lr, 0),
        ("train.optim_g.weight_decay", train.optim_g.weight_decay, 0),
    ):
        if not value >= least:
            raise ParagonSR2Error(f"{key} is {value}: expected {least} or more")
    if len(train.optim_g.betas) != 2 or not all(0 <= beta < 1 for beta in (*train.optim_g.betas, train.ema_decay)):
        found = f"train.optim_g.betas is {train.optim_g.betas} and train.ema_decay {train.ema_decay}"
        raise ParagonSR2Error(f"{found}: expected two numbers and one, each of 0 or more and below 1")
    if train.span and not (train.span.limit > 0 and 0 <= train.span.share <= 1 and train.span.every >= 1):
        raise ParagonSR2Error(f"train.span is {train.span}: expected a limit above 0, a share from 0 to 1 and every from 1 up")
    if not train.start.pre_activation_std > 0:
        raise ParagonSR2Error(f"train.start.pre_activation_std is {train.start.pre_activation_std}: expected a number above 0")
    if not train.losses:
        raise ParagonSR2Error("train.losses is empty: expected at least one loss")
    for key in ("drawn_prob", "pattern_prob", "stretch_prob"):
        if not 0 <= (share := getattr(data, key)) <= 1:
            raise ParagonSR2Error(f"datasets.train.{key} is {share}: expected 0 to 1")
    if data.degradation:
        check_degradation(data.degradation, data.lq_size)
    if config.network_g.scale not in (None, config.scale):
        raise ParagonSR2Error(f"network_g.scale is {config.network_g.scale}: expected the file's scale, {config.scale}, or none")
