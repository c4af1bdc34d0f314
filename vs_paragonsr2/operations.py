"""Counting what a module computes and moves, without computing it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True, slots=True)
class Operations:
    """Of one run of a module."""

    multiply_adds: int
    """Of convolutions and matrix products; element-wise operations are not counted."""
    bytes_moved: int
    """Every operator reads its inputs and its weights and writes its output once: nothing fused, nothing kept in a cache."""
    operators: int
    """How many, views apart."""


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiply_adds = self.bytes_moved = self.operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._schema.returns and func._schema.returns[0].alias_info is not None:
            return out  # a view
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        self.bytes_moved += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self.operators += 1
        if func is torch.ops.aten.convolution.default:
            # The formula of the registry does not know of groups.
            self.multiply_adds += out.numel() * prod(args[1].shape[1:])
        elif func.overloadpacket in flop_registry:
            self.multiply_adds += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out) // 2
        return out


def count(module: nn.Module, *inputs: Tensor) -> Operations:
    """Count one run of a module on the ``meta`` device, where nothing is computed."""
    module, shapes = module.to("meta"), [tensor.to("meta") for tensor in inputs]
    with torch.no_grad(), _Counter() as counter:
        module(*shapes)
    return Operations(counter.multiply_adds, counter.bytes_moved, counter.operators)
