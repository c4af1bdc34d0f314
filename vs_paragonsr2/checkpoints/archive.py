"""Reads the zip archives that torch.save writes, and no others: members without gaps, then their directory, then an end.

Every byte of the file belongs to exactly one record or member, so that there is only one way to read it. A member's name, place,
size and checksum are checked before anything is done with it. torch.save compresses nothing, so that nothing grows in reading.
"""

import struct
import zlib
from os import fstat
from pathlib import Path
from typing import Any, NamedTuple

from ..support.arguments import MAX_CHECKPOINT_BYTES, shown
from ..support.errors import ParagonSR2Error

MAX_MEMBERS = 10_000
"""Most members that an archive may have: about one for each tensor."""

MAX_NAME_BYTES = 512
"""Most bytes that the name of a member may have."""

END, LOCATOR64, END64 = b"PK\5\6", b"PK\6\7", b"PK\6\6"
ENTRY, LOCAL, DESCRIPTOR = b"PK\1\2", b"PK\3\4", b"PK\7\x08"
RECORDS = {
    END: struct.Struct("<4s4H2LH"),
    LOCATOR64: struct.Struct("<4sLQL"),
    END64: struct.Struct("<4sQ2H2L4Q"),
    ENTRY: struct.Struct("<4s6H3L5H2L"),
    LOCAL: struct.Struct("<4s5H3L2H"),
    DESCRIPTOR: struct.Struct("<4s3L"),
}
"""The layout of each kind of record, as far as its size is fixed, by the signature that it begins with."""

DESCRIBED, UTF8 = 1 << 3, 1 << 11
"""The flags that a member may have: that a descriptor follows it, and that its name is in UTF-8."""


class _Entry(NamedTuple):
    """What the directory says about a member."""

    name: bytes
    flags: int
    method: int
    sums: list[int]  # CRC-32, the size in the file, the size unpacked
    offset: int


def read_archive(path: Path) -> dict[str, memoryview]:
    """The members of an archive by their names. The file is read once, and the members are views of what was read.

    Raises ParagonSR2Error, without the path in its message, where the file cannot be read, is larger than a checkpoint may be, is
    not laid out as torch.save does it, or has a member whose checksum is wrong.
    """
    data = _whole(path)
    entries, limit = _directory(data)
    names = [entry.name.decode(errors="backslashreplace") for entry in entries]
    if any(name.casefold().endswith("/constants.pkl") for name in names):
        raise ParagonSR2Error("a TorchScript program; expected the weights alone, as its state_dict")
    if len({name.casefold() for name in names}) < len(names):
        raise unsaved("two members of one name")
    members, at = dict[str, memoryview](), 0
    for name, entry in zip(names, entries, strict=True):
        members[name], at = _member(data, entry, at, limit)
        if zlib.crc32(members[name]) != entry.sums[0]:
            raise ParagonSR2Error(f"damaged: the checksum of {shown(name)} is wrong")
    if at != limit:
        raise unsaved("data between the members and their directory")
    return members


def unsaved(why: str) -> ParagonSR2Error:
    """The error for a file that torch.save does not write in this form."""
    return ParagonSR2Error(f"truncated, or not written by torch.save of PyTorch 1.6 or later ({why})")


def _whole(path: Path) -> bytes:
    if not path.is_file():  # opening a pipe would wait for ever
        raise ParagonSR2Error("expected a regular file")
    with path.open("rb") as file:
        size = fstat(file.fileno()).st_size
        if size > MAX_CHECKPOINT_BYTES:
            raise ParagonSR2Error(f"{size / 2**20:.0f} MiB, more than the {MAX_CHECKPOINT_BYTES >> 20} MiB that are read")
        data = file.read(size + 1)  # one byte more, to see whether it grows
    if len(data) != size:
        raise ParagonSR2Error("changed while it was read")
    return data


def _directory(data: bytes) -> tuple[list[_Entry], int]:
    """The entries of the archive's directory, and where it starts."""
    start, stop, total = _end(data)
    entries, at = list[_Entry](), start
    for _ in range(total):
        _, _, flags, method, _, _, *sums, name, extra, comment, disk, _, _, offset = _record(data, at, ENTRY)
        at += RECORDS[ENTRY].size
        entries.append(_Entry(data[at : at + name], flags, method, sums, offset))
        at += name + extra
        if comment or disk or name > MAX_NAME_BYTES:
            raise unsaved("a member with a comment, on another disk or of a long name")
    if at != stop:
        raise unsaved("data after the directory of its members")
    return entries, start


def _end(data: bytes) -> tuple[int, int, int]:
    """Where the directory starts, where it stops, and how many entries it has, from the record that the file must end with."""
    stop = len(data) - RECORDS[END].size
    *disks, here, total, size, start, comment = _record(data, stop, END)
    locator = stop - RECORDS[LOCATOR64].size
    if data[max(locator, 0) :].startswith(LOCATOR64):  # PyTorch also writes an end with 64-bit numbers, which must say the same
        stop = locator - RECORDS[END64].size
        located, (_, _, _, *wide) = _record(data, locator, LOCATOR64), _record(data, stop, END64)
        if located != [0, stop, 1] or wide != [0, 0, total, total, size, start]:
            raise unsaved("its two ends differ")
    if any(disks) or comment or here != total or start + size != stop:
        raise unsaved("no end of one archive at its end")
    if total > MAX_MEMBERS:
        raise unsaved(f"{total} members")
    return start, stop, total


def _member(data: bytes, entry: _Entry, at: int, limit: int) -> tuple[memoryview, int]:
    """The member at ``at``, and where the next one starts.

    Raises ParagonSR2Error where it is not as the entry says, or reaches beyond ``limit``.
    """
    _, flags, method, _, _, *sums, name, extra = _record(data, at, LOCAL)
    _, packed, size = entry.sums
    if method or packed != size or flags & ~(DESCRIBED | UTF8):
        raise unsaved("a member is compressed or encrypted")
    begin = at + RECORDS[LOCAL].size
    start = begin + name + extra
    end = stop = start + size
    if flags & DESCRIBED:
        described = _record(data, end, DESCRIPTOR)
        if sums not in ([0, 0, 0], described):
            raise unsaved("a member is not as it is described")
        sums, stop = described, end + RECORDS[DESCRIPTOR].size
    if entry != (data[begin : begin + name], flags, method, sums, at) or stop > limit:
        raise unsaved("a member is not as the directory says")
    return memoryview(data)[start:end], stop


def _record(data: bytes, at: int, signature: bytes) -> list[Any]:
    """The fields of a record after its signature."""
    form = RECORDS[signature]
    if not 0 <= at <= len(data) - form.size or data[at : at + len(signature)] != signature:
        raise unsaved("no zip archive, or a damaged one")
    return [*form.unpack_from(data, at)[1:]]
