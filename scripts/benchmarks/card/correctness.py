"""Each session against the plain network in float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from vs_paragonsr2.backends.reference.session import ReferenceSession
from vs_paragonsr2.backends.switch import test_picture
from vs_paragonsr2.checkpoints.models import Model
from vs_paragonsr2.checkpoints.network import load_network

from .plan import NO_TIME, TIMED, Plan, blank, clip_spec, fault_of, opened


@dataclass(frozen=True)
class Correctness:
    """One session on one picture. Errors are in steps of 8 bits."""

    model: str
    backend: str
    precision: str
    bits: int
    mean: float | None = None
    worst: float | None = None
    right: bool | None = None
    """Whether no sample is off by more than a step; None where there was no time to look."""
    fault: str | None = None


def errors(plan: Plan, name: str, model: Model) -> Iterator[Correctness]:
    """Each session in each precision."""
    for bits in (8, 10) if name in TIMED else (8,):
        spec = clip_spec(plan.compared, bits)
        planes, exact = test_picture(spec), blank(spec)
        ReferenceSession(load_network(model.path).double(), spec, torch.device("cpu"), 1, np.float64).run(planes, exact)
        for backend in plan.backends:
            for precision in ("f32", "f16"):
                which = (name, backend, precision, bits)
                if plan.is_late:
                    yield Correctness(*which, fault=NO_TIME)
                    continue
                try:
                    out = blank(spec)
                    opened(plan, backend, model, spec, precision=precision).run(planes, out)
                except Exception as error:
                    yield Correctness(*which, right=False, fault=fault_of(error))
                    continue
                off = np.concatenate([np.abs(a.astype(float) - b).ravel() for a, b in zip(out, exact, strict=True)])
                off /= 1 << (bits - 8)
                yield Correctness(*which, mean=float(off.mean()), worst=float(off.max()), right=bool(off.max() <= 1))
