"""What queues do with streams and locks, on a stand-in for CUDA: its streams come in turn, and nothing is computed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vs_paragonsr2.backends.pytorch import devices
from vs_paragonsr2.backends.pytorch.devices import STREAMS, CUDAQueue

DEVICE = torch.device("cuda", 0)


class StandInEvent:
    def __init__(self, **kinds: bool) -> None:
        self.record = self.synchronize = lambda *args: None


class StandInGraph:
    """A CUDA graph that says when it is launched."""

    launched: Callable[[], None] = staticmethod(lambda: None)

    def replay(self) -> None:
        type(self).launched()


@pytest.fixture(autouse=True)
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = cycle(range(1, STREAMS + 1))

    @contextmanager
    def graph(graph: StandInGraph, *, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        yield

    stand_ins = {
        "Stream": lambda device: SimpleNamespace(cuda_stream=next(numbers), synchronize=lambda: None),
        "Event": StandInEvent,
        "CUDAGraph": StandInGraph,
        "graph": graph,
        "stream": lambda stream: nullcontext(),
        "device": lambda device: nullcontext(),
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, value)


def test_a_lane_has_a_stream_of_its_own_as_long_as_there_are_any() -> None:
    queues = [CUDAQueue(DEVICE) for _ in range(STREAMS)]
    assert len({queue.stream.cuda_stream for queue in queues}) == STREAMS
    more = [CUDAQueue(DEVICE) for _ in range(3)]
    assert len({queue.stream.cuda_stream for queue in more}) == 3  # spread, where all are taken
    for queue in more:
        (owner,) = (other for other in queues if other.stream.cuda_stream == queue.stream.cuda_stream)
        assert queue._turn is owner._turn
    del more, owner, queue
    given_back = queues.pop(20).stream.cuda_stream
    assert CUDAQueue(DEVICE).stream.cuda_stream == given_back


def while_recording(do: Callable[[], object], queue: CUDAQueue) -> bool:
    """Whether something else can be done while a queue records; it is done afterwards in any case."""
    began, end, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert end.wait(60)

    recorder = threading.Thread(target=queue.record, args=(work,))
    recorder.start()
    assert began.wait(60)
    other = threading.Thread(target=lambda: (do(), done.set()))
    other.start()
    went_on = done.wait(0.2)
    end.set()
    recorder.join()
    other.join()
    assert done.is_set()
    return went_on


def test_other_lanes_run_while_one_records() -> None:
    running, recording = CUDAQueue(DEVICE), CUDAQueue(DEVICE)
    running.record(lambda: None)
    assert while_recording(running.launch, recording)


def test_nothing_is_launched_on_a_stream_that_is_recorded_on() -> None:
    queues = [CUDAQueue(DEVICE) for _ in range(STREAMS + 1)]
    recording = queues.pop()
    (sharing,) = (queue for queue in queues if queue.stream.cuda_stream == recording.stream.cuda_stream)
    sharing.record(lambda: None)
    assert not while_recording(sharing.launch, recording)


@pytest.mark.parametrize("what", ["another recording", "a check", "emptying the pools", "a build"])
def test_what_a_recording_does_not_survive_waits(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, 2))
    other = CUDAQueue(DEVICE)

    def build() -> None:
        with devices.UNDISTURBED:
            pass

    do: dict[str, Callable[[], object]] = {
        "another recording": lambda: other.record(lambda: None),
        "a check": lambda: other.now(lambda: True),
        "emptying the pools": lambda: devices.used_bytes(DEVICE),
        "a build": build,
    }
    assert not while_recording(do[what], CUDAQueue(DEVICE))


def test_first_frames_are_checked_while_an_engine_is_built() -> None:
    """The builder takes seconds, in which PyTorch serves."""
    queue = CUDAQueue(DEVICE)
    queue.record(lambda: None)
    done: list[bool] = []
    with devices.UNDISTURBED:
        other = threading.Thread(target=lambda: (queue.launch(), queue.wait(), done.append(queue.now(lambda: True))))
        other.start()
        other.join(60)
    assert done == [True]
