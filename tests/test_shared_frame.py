"""Bands of a frame, each computed once, by whichever thread."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from vs_paragonsr2.backends.openvino.shared_frame import SharedFrame


@pytest.mark.parametrize(("bands", "priming"), [(27, 1), (9, 0), (16, 3), (1, 1), (4, 2)])
def test_every_band_is_computed_once_whoever_helps(bands: int, priming: int) -> None:
    found: list[tuple[str, int, bool]] = []
    begun, decided = threading.Event(), threading.Event()

    def compute(slot: str, band: int, primes: bool) -> None:
        found.append((slot, band, primes))
        begun.set()
        if slot != "own":
            decided.set()
        assert decided.wait(10)

    def help_(slot: str) -> bool:
        helps = frame.help(slot)
        decided.set()
        return helps

    frame = SharedFrame(bands, priming, compute)
    with ThreadPoolExecutor(3) as pool:
        own = pool.submit(frame.run, "own")
        assert begun.wait(10)
        helped = list(pool.map(help_, ["second", "third"]))
        own.result()
    assert Counter(band for _, band, primes in found if not primes) == Counter(range(bands))
    assert any(helped) == (bands > 1)
    for slot in {slot for slot, _, _ in found}:  # each primes first, with the bands above its first one
        mine = [(band, primes) for who, band, primes in found if who == slot]
        assert [primes for _, primes in mine] == [True] * priming + [False] * (len(mine) - priming)
        assert all(b == a + 1 for (a, _), (b, _) in pairwise(mine))
    assert not frame.help("late")


@pytest.mark.parametrize("whose", ["own", "second"])
def test_a_band_that_fails_fails_the_frame_when_nobody_writes_to_it_any_more(whose: str) -> None:
    begun, helps, writing = threading.Event(), threading.Event(), [0]

    def compute(slot: str, band: int, primes: bool) -> None:
        begun.set()
        if slot == "second":
            helps.set()
        assert helps.wait(10)
        if slot == whose and not primes:
            raise MemoryError(slot)
        writing[0] += 1
        time.sleep(0.002)
        writing[0] -= 1

    frame = SharedFrame(12, 1, compute)
    with ThreadPoolExecutor(2) as pool:
        own = pool.submit(frame.run, "own")
        assert begun.wait(10)
        helper = pool.submit(frame.help, "second")
        with pytest.raises(MemoryError, match=whose):
            own.result()
        assert writing == [0]
        assert helper.result()


@pytest.mark.parametrize("priming", [0, 1, 4])
@pytest.mark.parametrize("bands", [1, 2, 3, 9, 27, 28])
def test_a_helper_takes_as_long_as_what_stays(bands: int, priming: int) -> None:
    """Whenever it comes, which is here in the middle of each band in turn, in the same thread: no clock decides."""
    for moment in range(bands + priming):
        found: list[tuple[str, int, bool]] = []

        def compute(slot: str, band: int, primes: bool) -> None:
            found.append((slot, band, primes))  # noqa: B023 (it runs within this turn)
            if slot == "own" and len(found) == moment + 1:  # noqa: B023
                helps.append(frame.help("helper"))  # noqa: B023

        helps: list[bool] = []
        frame = SharedFrame(bands, priming, compute)
        frame.run("own")
        own, helper = (sum(slot == who for slot, _, _ in found) for who in ("own", "helper"))
        stays = own - moment  # the band that is under way counts
        assert helps == [helper > 0]
        if helper:
            assert helper - priming >= 1
            assert 0 <= stays - helper <= 1
        else:
            assert stays <= priming + 1, "a helper would have spared time"
        assert sorted(band for _, band, primes in found if not primes) == list(range(bands))
