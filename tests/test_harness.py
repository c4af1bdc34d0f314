"""What benchmarks share."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from benchmarks.harness import in_turn, machine, median, plain, report, spent, table


@dataclass(frozen=True)
class Row:
    name: str
    count: int
    seconds: float | None
    runs: tuple[float, ...] = ()

    @property
    def doubled(self) -> int:
        return 2 * self.count


@dataclass(frozen=True)
class Other:
    name: str
    fault: str


def test_works_are_done_in_turn_and_every_second_round_backwards() -> None:
    done: list[str] = []

    def work(name: str) -> str:
        done.append(name)
        return f"{name}{len(done)}"

    found = in_turn([lambda: work("a"), lambda: work("b"), lambda: work("c")], rounds=2, warm_ups=1)
    assert "".join(done) == "cbaabccba"
    assert found == [["a4", "a9"], ["b5", "b8"], ["c6", "c7"]]


def test_a_median_is_of_one_measure() -> None:
    assert median(["aaa", "b", "cc", "dddddd"], len) == 2.5


def test_work_is_timed_on_the_clock_and_on_the_processor() -> None:
    taken = spent(lambda: sum(range(1_000_000)))
    assert taken.elapsed > 0 and taken.processor > 0


def test_a_table_shows_numbers_and_words_of_all_kinds_of_rows() -> None:
    rows = [Row("first", 12345, 0.012346, (1.0,)), Row("b", 2, None), Other("third", "none")]
    assert table(rows).splitlines() == [
        "name    count  seconds  doubled  fault",
        "first  12,345  0.01235   24,690",
        "b           2                 4",
        "third                            none",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(123456.7, "123,457"), (12.3456, "12.35"), (0.0, "0"), (1e-9, "0.000000"), (float("inf"), "inf"), (-2.5, "-2.500")],
)
def test_a_float_has_four_digits_that_count(value: float, shown: str) -> None:
    assert table([Row("a", 1, value)]).splitlines()[1].split()[2] == shown


def test_json_has_fields_and_properties_and_no_infinities() -> None:
    value = {"rows": [Row("a", 1, float("nan"), (1.5, float("inf")))], "path": Path("a"), "none": None, "yes": True}
    row = {"name": "a", "count": 1, "seconds": None, "runs": [1.5, None], "doubled": 2}
    assert plain(value) == {"rows": [row], "path": "a", "none": None, "yes": True}


def test_a_report_names_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    report("What", [Row("größer", 1, 2.0)], path, [Other("shown", "instead")])
    said = capsys.readouterr().out
    assert said.startswith(f"{machine()}\n\nWhat\n\n")
    assert "shown" in said and "größer" not in said
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["title"] == "What" and found["rows"][0]["name"] == "größer"
    assert found["machine"] == plain(machine()) and any(package.startswith("numpy ") for package in found["machine"]["packages"])
