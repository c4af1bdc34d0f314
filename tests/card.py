"""A stand-in for a missing NVIDIA card: what Torch-TensorRT asks of one before it builds, and what TensorRT asks of one after.

Nothing of what is looked at comes from here: the partitioner, the converters and TensorRT's builder are the real ones. With a
card, all of this stays out of the way.
"""

from typing import Any

import pytest
import torch


class StandInEngine:
    """In place of an engine on a card, which takes a driver to load: the bytes that the builder made."""

    def __init__(self, data: Any) -> None:
        self.data = bytes(data)

    def serialize(self) -> bytes:
        return self.data

    def get_aliased_input_tensor(self, name: str) -> None:
        return None


class StandInRuntime:
    """In place of TensorRT's runtime."""

    def __init__(self, logger: object) -> None:
        pass

    def deserialize_cuda_engine(self, data: Any) -> StandInEngine:
        return StandInEngine(data)


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """Answer for a card of the Ada generation with 8 GB, unless there is a card."""
    if torch.cuda.is_available():
        return
    answers = {
        "get_device_capability": (8, 9),
        "current_device": 0,
        "mem_get_info": (8 << 30, 8 << 30),
        "set_device": None,
        "synchronize": None,
    }
    for name, answer in answers.items():
        patch.setattr(torch.cuda, name, lambda *args, answer=answer, **kwargs: answer)
    import tensorrt_rtx

    patch.setattr(tensorrt_rtx, "Runtime", StandInRuntime)
