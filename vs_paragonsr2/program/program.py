"""A program: operations from the planes of a frame to the planes of the larger one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from .colour import ClipSpec
from .operations import Operation, Planes


@dataclass(frozen=True, eq=False)
class Program:
    """What a frame goes through; nothing in it depends on a runtime, or changes."""

    spec: ClipSpec
    """The clip spec of the picture, or of the part of one, that the program is for."""
    outputs: tuple[Operation, ...]
    """For each of the target's groups of planes its samples, (planes, rows, columns)."""

    def __deepcopy__(self, memo: object) -> "Program":
        """Itself, since it never changes."""
        return self

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """All of them, each behind its sources."""
        found: dict[Operation, None] = {}
        for output in self.outputs:
            for operation in _in_order(output, found):
                found[operation] = None
        return tuple(found)

    @cached_property
    def consumers(self) -> Mapping[Operation, tuple[Operation, ...]]:
        """For each operation those that it is a source of."""
        found: dict[Operation, list[Operation]] = {operation: [] for operation in self.operations}
        for operation in self.operations:
            for source in operation.sources:
                found[source].append(operation)
        return {operation: tuple(others) for operation, others in found.items()}

    @property
    def inputs(self) -> list[Planes]:
        """The planes that come."""
        return [operation for operation in self.operations if isinstance(operation, Planes)]

    @property
    def heads(self) -> list[Operation]:
        """The operations that make features of samples."""
        return [x for x in self.operations if not x.holds_samples and x.source.holds_samples]

    @property
    def tails(self) -> list[Operation]:
        """The operations whose features become samples."""
        return [x for x in self.operations if not x.holds_samples and any(user.holds_samples for user in self.consumers[x])]

    @property
    def windows(self) -> list[int]:
        """``window`` of the operations that see the whole picture; none where every result has a finite receptive field."""
        return [operation.window for operation in self.operations if operation.window is not None]

    def rewritten(self, rule: Callable[[Operation, Operation], Operation]) -> "Program":
        """The program with ``rule(operation, same)`` in the place of each operation.

        ``same`` is the operation with its sources as they have been rewritten before; a rule that returns it changes nothing.
        """
        new: dict[Operation, Operation] = {}
        for operation in self.operations:
            sources = tuple(new[source] for source in operation.sources)
            changed = any(a is not b for a, b in zip(sources, operation.sources, strict=True))
            new[operation] = rule(operation, replace(operation, sources=sources) if changed else operation)
        return Program(self.spec, tuple(new[output] for output in self.outputs))


def _in_order(output: Operation, known: Mapping[Operation, None]) -> Iterator[Operation]:
    """What leads to an operation, each behind its sources, without what is known; no recursion, since networks are deep."""
    seen = set(known)
    stack = [(output, False)]
    while stack:
        operation, ready = stack.pop()
        if ready:
            yield operation
        elif operation not in seen:
            seen.add(operation)
            stack.append((operation, True))
            stack.extend((source, False) for source in reversed(operation.sources) if source not in seen)
