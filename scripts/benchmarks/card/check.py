"""All of the check of a card: correctness first, then the tables of times."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from vs_paragonsr2.checkpoints.models import Model

from .correctness import Correctness, errors
from .device import Card, Ceilings, card, ceilings, device_times
from .frames import Naive, frame_rates, naive_way
from .plan import NO_TIME, SECONDS, TIMED, Fault, Plan, Timed, clip_spec, fault_of, opened, session_of


@dataclass(frozen=True)
class Checked:
    """What was found. ``gpu_check.py`` says what the tables mean."""

    card: Card
    ceilings: Ceilings
    correctness: list[Correctness]
    device: list[Timed]
    frames: list[Timed]


def check(plan: Plan, which: dict[str, Model]) -> Checked:
    """Go through the plan with a model of each variant; what there was no time for says so.

    The variants that are not timed come last.
    """
    # TensorRT may take most of a minute for an engine: what is timed gets half of the time, and the others what is left.
    half = replace(plan, deadline=plan.deadline - SECONDS / 2)
    found = Checked(
        card(plan.device),
        ceilings(torch.device(plan.device), plan.quick),
        correctness=[row for name in TIMED for row in errors(half, name, which[name])],
        device=[],
        frames=[],
    )
    for name in TIMED:
        for size in plan.sizes:
            for table, row in times(plan, name, which[name], size, found.ceilings):
                {"device": found.device, "frames": found.frames}[table].append(row)
    for name in which if not plan.quick else ():
        if name not in TIMED:
            found.correctness.extend(errors(plan, name, which[name]))
    return found


def times(plan: Plan, name: str, model: Model, size: tuple[int, int], limits: Ceilings) -> Iterator[tuple[str, Timed]]:
    """Rows for the tables ``device`` and ``frames``: the naive way, then each backend's session with each number of lanes."""
    spec, source = clip_spec(size), f"{size[1]}x{size[0]}"
    what, naive = Timed(model=name, source=source, way="naive"), None
    if plan.is_late:
        yield "frames", Fault(**vars(what), fault=NO_TIME)
        return
    try:
        naive = naive_way(plan, what, model, spec)
    except Exception as error:  # it has no tiles, and may need more memory than there is
        fault = Fault(**vars(what), fault=fault_of(error))
    yield "device", naive or fault
    yield "frames", naive or fault
    for backend in plan.backends:
        what = Timed(model=name, source=source, way=backend)
        if plan.is_late:
            yield "frames", Fault(**vars(what), fault=NO_TIME)
            continue
        try:
            yield from _session_times(plan, what, model, limits, naive)
        except Exception as error:
            yield "frames", Fault(**vars(what), fault=fault_of(error))


def _session_times(plan: Plan, what: Timed, model: Model, limits: Ceilings, naive: Naive | None) -> Iterator[tuple[str, Timed]]:
    """The rows of one backend."""
    width, height = map(int, what.source.split("x"))
    spec = clip_spec((height, width))
    device = device_times(what, session_of(opened(plan, what.way, model, spec)), model, limits, naive.device_ms if naive else None)
    yield "device", device
    session = session_of(opened(plan, what.way, model, spec, max(plan.lanes)))
    for lanes in plan.lanes:
        if plan.is_late:
            yield "frames", Fault(**vars(what), lanes=lanes, fault=NO_TIME)
            continue
        if len(session.layout.tiles) > device.tiles:  # fewer lanes do with larger tiles
            session = session_of(opened(plan, what.way, model, spec, lanes))
        yield "frames", frame_rates(plan, what, session, lanes, device.device_ms, naive.fps if naive else None)
