"""What a file must come to: the very arrays that PyTorch has, or a refusal before it does harm."""

import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.checkpoints.pickled import read_pickled


def refused(path: Path, said: str) -> None:
    """The file is refused with these words, in less time and memory than do harm."""
    begun = time.process_time()  # of this process: the machine may be busy
    with pytest.raises(ParagonSR2Error, match=said) as caught:
        read_pickled(path)
    assert time.process_time() - begun < 2
    assert str(caught.value).startswith(f"{path}: ")
    tracemalloc.start()
    try:
        with pytest.raises(ParagonSR2Error):
            read_pickled(path)
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size + 300e6
    finally:
        tracemalloc.stop()


def same(tree: Any, torchs: Any) -> None:
    """A tree is what PyTorch has, with arrays of one's own for tensors."""
    if isinstance(torchs, torch.Tensor):
        expected = torchs.detach().float() if torchs.dtype == torch.bfloat16 else torchs.detach()
        np.testing.assert_array_equal(tree, expected.numpy(), strict=True)
        assert tree.flags.c_contiguous
        assert tree.flags.owndata
        assert tree.flags.writeable
    elif isinstance(torchs, dict):
        assert type(tree) is dict
        assert list(tree) == list(torchs)
        for key, value in torchs.items():
            same(tree[key], value)
    elif isinstance(torchs, list | tuple):
        assert type(tree) is type(torchs)
        for value, other in zip(tree, torchs, strict=True):
            same(value, other)
    else:
        assert (type(tree), repr(tree)) == (type(torchs), repr(torchs))
