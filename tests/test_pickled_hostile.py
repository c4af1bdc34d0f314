"""What read_pickled makes of pickles of strangers who mean harm."""

from pathlib import Path

import pytest
import torch
from fuzz.files import made, number, numbers, saved, tensor
from fuzz.verdicts import refused

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.checkpoints import load_checkpoint, pickled, storages
from vs_paragonsr2.checkpoints.pickled import read_pickled

FOREIGN = "other than tensors .*nothing of it was run. Ask for the state_dict alone, as .safetensors if possible"
NO_CHECKPOINT = r"damaged, or no PyTorch checkpoint \("


class RunsCode:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_runs_nothing(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    path = saved(tmp_path / "a.pth", {"a": torch.ones(2), "b": RunsCode(trace)}, pickle_protocol=protocol)
    refused(path, FOREIGN)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # it would have run


@pytest.mark.parametrize(
    ("opcodes", "name"),
    [
        (b"cos\nsystem\nX\4\0\0\0true\x85R", "os.system"),
        (b"\x8c\2os\x8c\6system\x93\x8c\4true\x85R", "os.system"),
        (b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R", "builtins.bytearray"),
        (b"ctorch.storage\n_load_from_bytes\n", "torch.storage._load_from_bytes"),
        (b"ctorch.storage\nUntypedStorage\n", "torch.storage.UntypedStorage"),
        (b"ctorch\n_utils._rebuild_tensor\n", "torch._utils._rebuild_tensor"),
        (b"cos\x1b[2J\nsystem\n", r"os\\x1b\[2J.system"),
        (b"]\x8c\6system\x93", "STACK_GLOBAL"),
        (b"(ios\nsystem\n", "INST"),
        (b"\x82\1", "EXT1"),
        (b"N)\x81", "NEWOBJ"),
        (b"P1\n", "PERSID"),
        (b"I1\n", "INT"),
        (b"S'\\q'\n", "STRING"),
        (b"B\xff\xff\xff\x7f", "BINBYTES"),
        (b"\x8b\xff\xff\xff\x7f", "LONG4"),
        (b"\x8f", "EMPTY_SET"),
        (b"ctorch\nFloatStorage\n", "torch.FloatStorage"),
        (b"(\x8c\7storagectorch\nFloatStorage\n\x8c\0010\x8c\3cpuK\6tQ", "a storage"),
    ],
)
def test_names_what_is_no_tensor(tmp_path: Path, opcodes: bytes, name: str) -> None:
    refused(made(tmp_path / "a.pth", opcodes), rf"other than tensors \({name}\), and nothing of it was run")


def test_refuses_other_objects_of_pytorch(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for thing in (torch.ones(2).to_sparse(), torch.ones(2, device="meta"), torch.float32, torch.Size([1]), torch.nn.Identity()):
        refused(saved(path, {"a": thing}), FOREIGN)
    for dtype in (torch.complex64, torch.uint16):
        refused(saved(path, torch.ones(2, dtype=dtype)), FOREIGN)
    refused(saved(path, torch._neg_view(torch.ones(2))), "a call of another form")  # its values are not as they lie


SENSELESS = [
    *(b"", b"N0", b"NN", b"(N", b"\xff", b"\0", b".", b"N.N", b"t", b"\x85", b"a", b"e", b"s", b"u", b"R", b"NR", b"NNR", b"b"),
    *(b"q\0", b"h\0", b"Nr\xff\xff\xff\xff", b"\x94", b"}Ns", b"}(Nu", b"NNa", b"N(e", b"NN\x8c\1as", b"NNb", b"Q", b"NQ", b"N)Q"),
    *(b"\x93", b"c", b"ca", b"ca\n", b"c\xff\n\n", b"J", b"G", b"X", b"X\3\0\0\0ab", b"\x8c\1\xff", b"\x8c\3\xed\xa0\x80", b"K"),
    *(b"\x8a", b"\x8a\x11" + bytes(17), b"\x8a\3aa", b"X\1\0\1\0" + b"a" * 65537, b"\x8d" + b"\xff" * 8, b"\x95", b"M\0", b"}b"),
    *(b"ccollections\nOrderedDict\nN\x85R", b"ctorch\nFloatStorage\n)R", b"ctorch._utils\n_rebuild_parameter\n(NNNtR"),
    *(tensor(6, 0, (), ()) + b"Q", b"ccollections\nOrderedDict\n" + tensor(6, 0, (), ()) + b"R", tensor(6, 0, (6,), (1,)) + b"Q"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n(NK\0))N}tR", b"ctorch._utils\n_rebuild_tensor_v2\n)R"),
]


@pytest.mark.parametrize("opcodes", SENSELESS)
def test_refuses_pickles_that_make_no_sense(tmp_path: Path, opcodes: bytes) -> None:
    refused(made(tmp_path / "a.pth", opcodes), f"{NO_CHECKPOINT}|other than tensors")


OUTSIDE = [
    *((6, 1, (6,), (1,)), (6, 0, (7,), (1,)), (6, 0, (7,), (0,)), (6, 0, (2**42,), (0,)), (6, 0, (2, 2), (5, 1)), (6, 6, (), ())),
    *((6, 0, (2**40, 2**40), (0, 0)), (6, 0, (2,), (2**62,)), (6, 2**62, (1,), (1,)), (6, 0, (2**100,), (2**100,))),
    *((6, -1, (2,), (1,)), (6, 0, (-2,), (1,)), (6, 2, (2,), (-1,)), (6, 0, (0, 2**62, 2**62), (1, 1, 1)), (6, 0, (2,), (1, 1))),
    *((6, 0, (1,) * 9, (1,) * 9), (7, 0, (6,), (1,)), (5, 0, (5,), (1,)), (-1, 0, (0,), (1,)), (2**62, 0, (6,), (1,))),
]


@pytest.mark.parametrize("view", OUTSIDE, ids=str)
def test_refuses_tensors_that_are_not_within_their_storage(
    tmp_path: Path, view: tuple[int, int, tuple[int, ...], tuple[int, ...]]
) -> None:
    refused(made(tmp_path / "a.pth", tensor(*view)), NO_CHECKPOINT)


def test_refuses_tensors_of_another_storage_or_of_no_numbers(tmp_path: Path) -> None:
    path, view = tmp_path / "a.pth", (6, 0, (6,), (1,))
    whole = tensor(*view)
    assert len(read_pickled(made(path, whole))) == 6
    others = [tensor(*view, key=b"1"), tensor(*view, key=b"../data.pkl"), tensor(*view, kind=b"Double")]
    for what in (*others, whole.replace(number(0), b"\x89", 1), whole.replace(numbers(6), b"\x8c\1a\x85", 1)):
        refused(made(path, what), NO_CHECKPOINT)


NESTED = "within themselves, or deeper"
KEY = "a key that is no short string and no small number"


@pytest.mark.parametrize(
    ("opcodes", "said"),
    [
        (b"}N" + b"q\1h\1\x86" * 40 + b"Ns", KEY),
        (b"})" + b"\x85" * 100_000 + b"Ns", KEY),
        (b"}\x89Ns", KEY),
        (b"}" + number(2**61 - 1) + b"Ns", KEY),
        (b"N" + b"\x85" * 100_000, NESTED),
        (b"]" * 90_000 + b"a" * 89_999, NESTED),
        (b"}" + b"K\0}" * 60_000 + b"s" * 60_000, NESTED),
        (b"}q\0K\0h\0s", NESTED),
        (b"]q\0h\0a", NESTED),
        (b"N" + b"q\1h\1\x86" * 40, NESTED),
        (b"((" + b"N" * 1000 + b"tq\1" + b"h\1" * 1000 + b"t", NESTED),
        (b"N" * 200_000, "more than the 200000 steps"),
        (b"}" * 4_000_000, "more than the 200000 steps"),
        (b"(" * 4_000_000, "more than the 200000 steps"),
        (b"c" + b"a" * 4_000_000 + b"\na\n", FOREIGN),
        (b"(" + (b"X\xff\xff\0\0" + b"\xf0\x9f\x98\x80" * 16383 + b"aaa") * 63 + b"t(", "no single value"),
    ],
    ids=range(16),
)
def test_ends_soon_whatever_the_pickle_asks_for(tmp_path: Path, opcodes: bytes, said: str) -> None:
    refused(made(tmp_path / "a.pth", opcodes), said)


def test_the_largest_tensors_end_soon_and_more_are_refused(tmp_path: Path) -> None:
    """In an order that is slow to copy; each value counts as float32."""
    side, path = 2**13, tmp_path / "a.pth"
    largest = tensor(side * side, 0, (side, side), (1, side), kind=b"Byte")
    stored = (("a/data/0", bytes(side * side)), ("a/data/1", b"1234"))
    refused(made(path, b"(" + largest + tensor(1, 0, (1,), (1,), key=b"1") + b"t", *stored), "256 MiB of a checkpoint")
    once = tensor(2**22, 0, (64, 64, 16), (1, 256, 17), kind=b"BFloat16").replace(b"v2\n", b"v2\nq\1").replace(b"}tR", b"}tq\2R")
    refused(made(path, b"(" + once + b"h\1h\2R" * 1024 + b"t", ("a/data/0", bytes(2**23))), "256 MiB of a checkpoint")


def test_limits_hold_for_all_tensors_and_steps_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "MAX_CHECKPOINT_BYTES", 48)
    monkeypatch.setattr(pickled, "MAX_STEPS", 100)
    path, whole = tmp_path / "a.pth", tensor(6, 0, (6,), (1,))
    assert len(read_pickled(made(path, b"(" + whole * 2 + b"t"))) == 2
    refused(made(path, b"(" + whole * 3 + b"t"), "MiB of a checkpoint")
    assert len(read_pickled(made(path, b"(" + b"N" * 96 + b"t"))) == 96
    refused(made(path, b"(" + b"N" * 97 + b"t"), "more than the 100 steps")
    refused(made(path, b"((" + b"N" * 30 + b"tq\1" + b"h\1" * 3 + b"t"), NESTED)


def test_long_names_for_one_tensor_do_not_fill_the_memory(tmp_path: Path) -> None:
    """A tensor that the pickle remembers can be under any number of keys, whose names are put together with those about them."""
    one = torch.zeros(1)
    for tree in ({"a" * 60_000: {str(i): one for i in range(1000)}}, {"a": {str(i): one for i in range(30_000)}}):
        torch.save(tree, tmp_path / "a.pth")
        with pytest.raises(ParagonSR2Error, match="no short string and no small number|holds more than 20,000 tensors"):
            load_checkpoint(tmp_path / "a.pth")


def test_names_are_harmless_to_a_terminal(tmp_path: Path) -> None:
    torch.save({"\x1b[2J" + "x" * 100: torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(ParagonSR2Error, match=r"It has \\x1b\[2Jx+;") as raised:
        load_checkpoint(tmp_path / "a.pth")
    assert "\x1b" not in str(raised.value) and "x" * 90 not in str(raised.value)
