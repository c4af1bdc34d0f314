"""Which files read_pickled takes for archives of torch.save, and which not."""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fuzz.files import packed, saved
from fuzz.verdicts import refused
from torch import nn

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.checkpoints import archive
from vs_paragonsr2.checkpoints.pickled import read_pickled

UNSAVED = r"truncated, or not written by torch.save of PyTorch 1.6 or later \("


def test_refuses_what_is_no_archive_of_torch_save(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    refused(saved(path, {"a": torch.ones(2)}, _use_new_zipfile_serialization=False), UNSAVED)
    for data in (b"", b"PK\5\6", pickle.dumps({}), bytes(1000), b"PK\3\4" * 1000, b"PK\5\6" * 1000):
        path.write_bytes(data)
        refused(path, UNSAVED)
    torch.jit.script(nn.Identity()).save(path)
    refused(path, "a TorchScript program; expected the weights alone, as its state_dict")


def test_refuses_what_is_no_regular_file_or_too_large(tmp_path: Path) -> None:
    refused(tmp_path, "expected a regular file")
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "zero.pth").symlink_to("/dev/zero")
    for name in ("pipe.pth", "zero.pth", "none.pth"):
        with pytest.raises(ParagonSR2Error, match="expected a regular file"):
            read_pickled(tmp_path / name)
    with (tmp_path / "large.pth").open("wb") as file:
        file.truncate(2**28 + 1)  # takes no space on the disk
    refused(tmp_path / "large.pth", "256 MiB, more than the 256 MiB that are read")


def test_a_file_that_grows_is_not_read_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.pth", {})
    monkeypatch.setattr(archive, "fstat", lambda _: os.stat_result([0] * 6 + [100] + [0] * 3))
    refused(path, "changed while it was read")


def test_every_flipped_byte_changes_nothing_or_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(True)})
    whole, tree = path.read_bytes(), read_pickled(path)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            read = read_pickled(path)
        except ParagonSR2Error:
            continue
        assert repr(read) == repr(tree)


def test_a_flipped_bit_in_a_weight_is_damage(tmp_path: Path) -> None:
    weights = torch.rand(1000)
    path = saved(tmp_path / "a.pth", weights)
    data = bytearray(path.read_bytes())
    data[data.index(weights.numpy().tobytes()) + 2345] ^= 4
    path.write_bytes(data)
    refused(path, "damaged: the checksum of a/data/0 is wrong")


def test_refuses_every_truncation_and_extension(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"a": torch.ones(3)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ParagonSR2Error, match=UNSAVED):
            read_pickled(path)
    for data in (b"\0" + whole, whole + b"\0", whole + whole, whole[:500] + b"\0" + whole[500:]):
        path.write_bytes(data)
        refused(path, UNSAVED)


FILLS_MEMORY = b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."
GOOD = ("a/data.pkl", b"\x80\x02}.")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([GOOD, ("a/DATA.PKL", FILLS_MEMORY)], "two members of one name"),
        ([("a/DATA.PKL", FILLS_MEMORY), GOOD], "two members of one name"),
        ([("a/DATA.PKL", FILLS_MEMORY)], "expected one data.pkl, in a folder"),
        ([GOOD, ("b/data.pkl", FILLS_MEMORY)], "expected one data.pkl, in a folder"),
        ([GOOD, ("a/data/Data.pkl", FILLS_MEMORY)], "expected one data.pkl, in a folder"),
        ([("data.pkl", b"}.")], "expected one data.pkl, in a folder"),
        ([("a/b/data.pkl", b"}.")], "expected one data.pkl, in a folder"),
        ([("a/version", b"3\n")], "expected one data.pkl, in a folder"),
        ([], "expected one data.pkl, in a folder"),
        ([GOOD, ("a/Constants.pkl", b"")], "TorchScript"),
        ([GOOD, *((f"a/data/{n}", b"") for n in range(10_000))], "10001 members"),
        ([GOOD, *((f"{n}" + "a" * 65_000 + "\U0001f600", b"") for n in range(1000))], "of a long name"),
        ([("a/data.pkl", b"N" * (4 * 2**20 + 1))], "more than the 4 MiB"),
    ],
)
def test_refuses_archives_of_other_members(tmp_path: Path, members: list[tuple[str, bytes]], said: str) -> None:
    refused(packed(tmp_path / "a.pth", *members), said)


def test_refuses_compressed_members(tmp_path: Path) -> None:
    refused(packed(tmp_path / "a.pth", ("a/data.pkl", b"}" * 2**25), compression=zipfile.ZIP_DEFLATED), "compressed or encrypted")


def rewritten(data: bytes, signature: bytes, place: int, value: bytes, nth: int = 0) -> bytes:
    """The archive with other bytes in a record, the last of its kind or an earlier one."""
    at = len(data)
    for _ in range(nth + 1):
        at = data.rindex(signature, 0, at)
    return data[: at + place] + value + data[at + place + len(value) :]


def short(value: int) -> bytes:
    return struct.pack("<H", value)


def long(value: int) -> bytes:
    return struct.pack("<L", value)


def flagged(data: bytes) -> bytes:
    return rewritten(rewritten(data, archive.ENTRY, 8, short(1)), archive.LOCAL, 6, short(1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flagged, "compressed or encrypted"),
        (lambda data: rewritten(data, archive.ENTRY, 8, short(1)), "not as the directory says"),
        (lambda data: rewritten(data, archive.LOCAL, 30, b"b"), "not as the directory says"),
        (lambda data: rewritten(data, archive.LOCAL, 18, long(1)), "not as the directory says"),
        (lambda data: rewritten(data, archive.LOCAL, 28, short(1)), UNSAVED),
        (lambda data: rewritten(data, archive.ENTRY, 42, long(0)), "not as the directory says"),  # two members in one place
        (lambda data: rewritten(data, archive.ENTRY, 42, long(0), nth=1), "not as the directory says"),
        (lambda data: rewritten(data, archive.ENTRY, 20, long(2**32 - 1) * 2), UNSAVED),
        (lambda data: rewritten(data, archive.ENTRY, 30, short(60_000)), UNSAVED),
        (lambda data: rewritten(data, archive.ENTRY, 34, short(1)), "with a comment, on another disk or of a long name"),
        (lambda data: rewritten(data, archive.ENTRY, 32, short(1)), "with a comment, on another disk or of a long name"),
        (lambda data: rewritten(data, archive.END, 8, short(1) * 2), "data after the directory"),
        (lambda data: rewritten(data, archive.END, 8, short(4) * 2), UNSAVED),
        (lambda data: rewritten(data, archive.END, 8, short(2**16 - 1) * 2), "65535 members"),
        (lambda data: rewritten(data, archive.END, 8, short(1)), "no end of one archive"),
        (lambda data: rewritten(data, archive.END, 12, long(2**32 - 1)), "no end of one archive"),
        (lambda data: rewritten(data, archive.END, 20, short(1)), "no end of one archive"),
        (lambda data: rewritten(data, archive.END, 20, short(1)) + b"!", UNSAVED),
        (lambda data: data[:-22] + struct.pack("<4sLQL", archive.LOCATOR64, 0, 0, 1) + data[-22:], UNSAVED),
    ],
)
def test_refuses_archives_whose_records_differ(tmp_path: Path, change: Callable[[bytes], bytes], said: str) -> None:
    path = packed(tmp_path / "a.pth", GOOD, ("a/data/0", b"12345678"), ("a/data/1", b"12345678"))
    assert read_pickled(path) == {}
    path.write_bytes(change(path.read_bytes()))
    refused(path, said)
