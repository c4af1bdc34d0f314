"""The configuration of a training run, a YAML file. Keys that traiNNer-redux has too are named as there; the others are ours."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, cast

import yaml

from ..network import VARIANTS, ParagonSR2
from ..support.errors import ParagonSR2Error
from .degradation_config import Degradation, check_degradation
from .losses import LOSSES
from .parsing import build

NETWORKS = {f"paragonsr2_{name}": name for name in VARIANTS}
"""The variants by the names that ``network_g.type`` has for them."""

LEAST_PATCH = 8
"""Least side of a low-resolution patch in pixels. The outermost pixels are left out of the loss."""


@dataclass(kw_only=True)
class NetworkOptions:
    """``network_g``: one of ``NETWORKS`` as its type, and the arguments of :class:`ParagonSR2`."""

    type: str
    scale: int | None = None
    """Upsampling factor; None takes the file's ``scale``."""
    upsampler_alpha: float | None = None
    attention_mode: str | None = "sdpa"
    export_safe: bool = False
    use_checkpointing: bool = False

    def build(self, scale: int) -> ParagonSR2:
        """Make the network with fresh weights. Raises ParagonSR2Error where an option has no such value."""
        if self.type not in NETWORKS:
            raise ParagonSR2Error(f"network_g.type is {self.type!r}: expected one of {', '.join(NETWORKS)}")
        arguments = dataclasses.asdict(self)
        del arguments["type"], arguments["scale"]
        try:
            return ParagonSR2(NETWORKS[self.type], self.scale or scale, **arguments)
        except ValueError as error:
            raise ParagonSR2Error(f"network_g: {error}") from error


@dataclass(kw_only=True)
class TrainDataset:
    """``datasets.train``."""

    dataroot_gt: list[Path]
    """Tar shards of lossless pictures, or folders with such shards."""
    lq_size: int = 48
    """Side of a low-resolution patch in pixels."""
    batch_size_per_gpu: int = 16
    """Number of patches in a batch."""
    use_hflip: bool = True
    """Whether some patches are mirrored."""
    use_rot: bool = True
    """Whether patches are turned by multiples of 90 degrees."""
    drawn_prob: float = 0.0
    """Ours: share of drawn pictures among the patches without degradation (see ``drawings.py``)."""
    pattern_prob: float = 0.0
    """Ours: share of patterns of single pixels among the patches without degradation (see ``drawings.py``)."""
    stretch_prob: float = 0.0
    """Ours: share of patches whose channels are stretched and shifted beyond 0..1, as YUV can be (see ``data.py``)."""
    tile_memory_mib: int = 1024
    """Most memory in MiB that decoded pictures may take. Pictures for which there is none are read again when they are needed."""
    degradation: Degradation | None = None
    """What is done to sources; None leaves them clean."""


@dataclass(kw_only=True)
class ValDataset:
    """``datasets.val``: one folder with pairs of ``NAME_hr.png`` and ``NAME_lr.png``."""

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
    """A checkpoint of the same variant to start from instead of ``train.start``. Its scale may differ: 2x can start 4x."""


@dataclass(kw_only=True)
class Optimiser:
    """``train.optim_g``."""

    NAMES: ClassVar[tuple[str, ...]] = ("AdamW", "Adam", "SOAP")
    type: str = "AdamW"
    lr: float = 2e-3
    """Learning rate after the warm-up."""
    weight_decay: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    depthwise_factor: float = 1.0
    """Ours: the learning rate of depthwise weights relative to ``lr``. A start that leaves the linear regime makes these weights as
    large as 10 to 22, and steps of the usual length hardly move them."""


@dataclass(kw_only=True)
class Scheduler:
    """``train.scheduler``."""

    NAMES: ClassVar[tuple[str, ...]] = ("CosineAnnealingLR",)
    type: str = "CosineAnnealingLR"
    eta_min: float = 0.0
    """Learning rate at the end."""


@dataclass(kw_only=True)
class Loss:
    """One entry of ``train.losses``."""

    NAMES: ClassVar[tuple[str, ...]] = tuple(LOSSES)
    type: str = "L1Loss"
    loss_weight: float = 1.0
    """Factor of this loss in the sum of all."""


@dataclass(kw_only=True)
class Start:
    """``train.start``, ours: how the values before each nonlinearity are rescaled once (see ``start.py``)."""

    enabled: bool = True
    """False keeps the usual initial weights."""
    pre_activation_std: float = 2.0
    """Standard deviation that the values before each nonlinearity are given, for variants that want no other."""
    residual_std: float = 0.3
    """About the standard deviation that what each block adds is given."""
    detail_gain: float = 1.0
    """First value of the network's ``detail_gain``."""


@dataclass(kw_only=True)
class Span:
    """``train.span``, ours: what keeps the features within half precision (see ``span.py``)."""

    limit: float = 4096.0
    """Largest absolute value of a feature that adds nothing to the loss."""
    share: float = 0.1
    """Norm of this loss's gradient relative to that of the other losses, where it is not zero."""
    every: int = 2
    """Number of steps from one harsh picture to the next."""


@dataclass(kw_only=True)
class Train:
    """``train``."""

    total_iter: int
    """Number of steps of the whole run."""
    ema_decay: float = 0.999
    """Share of the averaged weights that is kept at each step."""
    grad_clip: float = 0.3
    """Largest gradient norm; 0 sets no limit. Best are a few times the usual norm, which is in ``log.jsonl``: a single batch far
    beyond it shortens hundreds of the following steps. The usual norm depends on the losses: with the Huber loss it is a twentieth
    of that with the L1 loss."""
    warmup_iter: int = 0
    """Number of steps over which the learning rate rises from zero."""
    optim_g: Optimiser = field(default_factory=Optimiser)
    scheduler: Scheduler = field(default_factory=Scheduler)
    losses: list[Loss] = field(default_factory=lambda: [Loss()])
    start: Start = field(default_factory=Start)
    span: Span | None = None
    """None adds no such loss."""


@dataclass(kw_only=True)
class Validation:
    """``val``."""

    val_freq: int = 1000
    """Number of steps between two measurements."""


@dataclass(kw_only=True)
class Logger:
    """``logger``."""

    print_freq: int = 100
    """Number of steps between two lines of the log."""
    save_checkpoint_seconds: float = 60.0
    """Seconds between two saves, which is how much an interruption can lose."""


@dataclass(kw_only=True)
class TrainingConfig:
    """The whole configuration."""

    name: str
    """Name of the checkpoint, without its suffix."""
    scale: int
    """Upscaling factor: 2, 3, 4 or 8."""
    network_g: NetworkOptions
    datasets: Datasets
    train: Train
    path: Paths = field(default_factory=Paths)
    val: Validation = field(default_factory=Validation)
    logger: Logger = field(default_factory=Logger)
    manual_seed: int = 0
    """Seed of all random numbers."""
    use_amp: bool = False
    """Whether the forward pass is in bfloat16 where PyTorch's autocast allows it."""


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
    """Raise ParagonSR2Error for numbers that cannot be used."""
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
