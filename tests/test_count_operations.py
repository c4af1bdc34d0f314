"""What a frame costs before and after folding."""

import pytest
import torch
from benchmarks import count_operations
from benchmarks.count_operations import count
from plain import make_spec, module_of, random_network


def test_count_knows_groups_and_products() -> None:
    conv, x = torch.nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False, device="meta"), torch.empty(1, 4, 5, 6, device="meta")
    found = count(lambda: conv(x))
    assert found.multiply_adds == 8 * 30 * 9
    assert found.bytes_moved == 4 * (4 * 30 + 8 * 9 + 8 * 30)
    assert found.operations == 1
    linear, x = torch.nn.Linear(4, 8, bias=False, device="meta"), torch.empty(3, 4, device="meta")
    assert count(lambda: linear(x)).multiply_adds == 3 * 4 * 8
    assert count(lambda: linear(x), pixels=3).multiply_adds == 4 * 8


@pytest.mark.parametrize(("name", "share"), [("realtime", 0.67), ("stream", 0.73)])
def test_folding_saves_operations(name: str, share: float) -> None:
    """With the zeros that fill tails of four by four outputs."""
    network, spec, x = random_network(name, 2), make_spec(2, (540, 960)), torch.empty(1, 3, 540, 960, device="meta")
    folded = count_operations.folded(network, spec)
    network.to("meta")
    plain = count(lambda: network(x), pixels=540 * 960)
    assert folded.multiply_adds < share * plain.multiply_adds
    assert folded.bytes_moved < plain.bytes_moved


@pytest.mark.parametrize("name", ["realtime", "stream 8", "photo"])
def test_a_program_costs_what_pytorch_runs(name: str) -> None:
    """But for what is about the picture, which the program's cost leaves out."""
    network, spec = random_network(name, 2, blocks=1), make_spec(2, (1536, 2048))
    module = module_of(network, spec).to("meta")
    planes = [torch.empty(1, 1, *shape, dtype=torch.uint8, device="meta") for shape in spec.source.shapes]
    run = count(lambda: module(*planes), pixels=1536 * 2048)
    assert 0.95 * run.multiply_adds < count_operations.folded(network, spec).multiply_adds < run.multiply_adds


def test_a_row_has_what_folding_saves() -> None:
    row = count_operations.row("realtime", random_network("realtime", 2), 64, 48)
    assert (row.network, row.scale) == ("realtime", "2x")
    assert row.multiply_adds_ratio == row.multiply_adds / row.folded_multiply_adds > 1
    assert row.bytes_moved_ratio == row.bytes_moved / row.folded_bytes_moved > 1
