"""A frame in bands, which its own thread computes downwards; threads that have nothing else to do take lower ones over."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock


@dataclass(slots=True, eq=False)
class _Part:
    """Neighbouring bands of one thread."""

    next: int
    """The first band that is not begun."""
    end: int
    """The band after the last one."""
    ahead: int
    """Bands that its thread is at or has to run before the next one."""
    done: Future[None] = field(default_factory=Future)

    @property
    def remaining(self) -> int:
        return self.end - self.next


class SharedFrame[Slot]:
    """The bands of one frame.

    Args:
        bands: how many there are.
        priming: bands to run before the first one of a part, which take their time and give nothing.
        compute: a band with a slot; the flag says whether it only primes, and its result is nobody's.
    """

    def __init__(self, bands: int, priming: int, compute: Callable[[Slot, int, bool], None]) -> None:
        self._priming = priming
        self._compute = compute
        self._parts = [_Part(0, bands, priming)]
        self._lock = Lock()

    def run(self, slot: Slot) -> None:
        """Compute what nobody takes over, and wait for what others took. Raises what went wrong in any part."""
        self._run(slot, self._parts[0])
        for part in self._parts:  # grows while a part that gave some of its own is waited for
            part.done.exception()
        for part in self._parts:
            part.done.result()

    def help(self, slot: Slot) -> bool:
        """Take bands over and compute them; False where that would spare no time. What goes wrong is raised by ``run``."""
        part = self._give()
        if part is not None:
            self._run(slot, part)
        return part is not None

    def _give(self) -> _Part | None:
        """Split the part with the most bands remaining: its lower ones, priming included, take as long as those that stay."""
        with self._lock:
            giver = max(self._parts, key=lambda part: part.remaining)
            count = (giver.ahead + giver.remaining - self._priming) // 2
            if count < 1:
                return None
            giver.end -= count
            part = _Part(giver.end, giver.end + count, self._priming)
            self._parts.append(part)
            return part

    def _take(self, part: _Part) -> int | None:
        with self._lock:
            if not part.remaining:
                return None
            part.next += 1
            part.ahead = 1
            return part.next - 1

    def _run(self, slot: Slot, part: _Part) -> None:
        try:
            first = part.next
            for above in range(first - self._priming, first):
                part.ahead = first - above
                self._compute(slot, above, True)
            while (band := self._take(part)) is not None:
                self._compute(slot, band, False)
        except BaseException as error:
            with self._lock:
                part.next = part.end
            part.done.set_exception(error)
        else:
            part.done.set_result(None)
