"""A frame in bands, which its own thread computes downwards; threads that have nothing else to do take lower ones over."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock


@dataclass(slots=True, eq=False)
class _Share:
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
        priming: bands to run before the first one of a share, which take their time and give nothing.
        compute: a band with a slot; the flag says whether it only primes, and its result is nobody's.
    """

    def __init__(self, bands: int, priming: int, compute: Callable[[Slot, int, bool], None]) -> None:
        self._priming = priming
        self._compute = compute
        self._shares = [_Share(0, bands, priming)]
        self._lock = Lock()

    def run(self, slot: Slot) -> None:
        """Compute what nobody takes over, and wait for what others took. Raises what went wrong in any share."""
        self._run(slot, self._shares[0])
        for share in self._shares:  # grows while a share that gave some of its own is waited for
            share.done.exception()
        for share in self._shares:
            share.done.result()

    def help(self, slot: Slot) -> bool:
        """Take bands over and compute them; False where that would spare no time. What goes wrong is raised by ``run``."""
        share = self._give()
        if share is not None:
            self._run(slot, share)
        return share is not None

    def _give(self) -> _Share | None:
        """Split the share with the most bands remaining: its lower ones, priming included, take as long as those that stay."""
        with self._lock:
            giver = max(self._shares, key=lambda share: share.remaining)
            count = (giver.ahead + giver.remaining - self._priming) // 2
            if count < 1:
                return None
            giver.end -= count
            share = _Share(giver.end, giver.end + count, self._priming)
            self._shares.append(share)
            return share

    def _take(self, share: _Share) -> int | None:
        with self._lock:
            if not share.remaining:
                return None
            share.next += 1
            share.ahead = 1
            return share.next - 1

    def _run(self, slot: Slot, share: _Share) -> None:
        try:
            first = share.next
            for above in range(first - self._priming, first):
                share.ahead = first - above
                self._compute(slot, above, True)
            while (band := self._take(share)) is not None:
                self._compute(slot, band, False)
        except BaseException as error:
            with self._lock:
                share.next = share.end
            share.done.set_exception(error)
        else:
            share.done.set_result(None)
