"""Checkpoints that are broken in many ways, from a seed: the same seed and number make the same file."""

import io
import json
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Iterator
from functools import cache
from itertools import count as numbers_from
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vs_paragonsr2.checkpoints.pickled import read_pickled

GOLDEN = Path(__file__).parents[1] / "golden" / "realtime_x2.safetensors"

EXTREMES = (0, 1, 2, 3, 127, 128, 255, 256, 65535, 2**31 - 1, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)

NAMES = (b"collections\nOrderedDict", b"torch._utils\n_rebuild_tensor_v2", b"torch._utils\n_rebuild_parameter")
NAMES += (b"torch\nFloatStorage", b"torch\nBFloat16Storage", b"torch\nBoolStorage", b"builtins\nbytearray", b"os\nsystem")


def load(path: Path) -> Any:
    """What the project reads of a file: the tree of a ``.pth``, the tensors of a ``.safetensors``."""
    if path.suffix == ".pth":
        return read_pickled(path)
    from vs_paragonsr2.checkpoints.load import load_checkpoint

    return dict(load_checkpoint(path).tensors)


def corpus(seed: int, count: int | None) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files, each of which is broken in another way or, now and then, whole; without an end for None.

    The name says how the file was made, and ends in ``.pth`` or ``.safetensors``.
    """
    for number in islice(numbers_from(0), count):
        rng = random.Random(f"{seed}/{number}")
        make = MAKERS[number % len(MAKERS)]
        kind, _, suffix = make.__name__.rpartition("_")
        yield f"{number:06}-{kind}.{suffix}", make(rng)


@cache
def whole_tree() -> dict[str, Any]:
    """What a ``.pth`` that is whole holds."""
    memory = torch.arange(24.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()
    views = {"row": memory[3:9], "turned": memory.view(4, 6).T, "bfloat16": memory.bfloat16(), "none": memory[:0]}
    others = {
        "one": nn.Parameter(memory[:2]),
        "flags": memory > 5,
        "epoch": 3,
        "plain": [0.1, None, True, (1, 2**70)],
        "by": {7: "é"},
    }
    return {"params_ema": weights, "views": views, **others}


@cache
def _saved(protocol: int) -> bytes:
    file = io.BytesIO()
    torch.save(whole_tree(), file, pickle_protocol=protocol)
    return file.getvalue()


def whole_pth(rng: random.Random) -> bytes:
    return _saved(rng.choice((2, 2, 4)))


def whole_safetensors(rng: random.Random) -> bytes:
    return GOLDEN.read_bytes()


def _flipped(data: bytes, rng: random.Random) -> bytes:
    """Up to eight bits are others."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    """Something is missing, comes twice, or is put in."""
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    middle = rng.choice((b"", data[start:stop] * 2, rng.randbytes(rng.randint(1, 40)), bytes(stop - start)))
    return rng.choice((data[:start], data[start:], data[:start] + middle + data[stop:]))


def _overwritten(data: bytes, rng: random.Random) -> bytes:
    """A number is an extreme one."""
    number = rng.choice(EXTREMES).to_bytes(8, "little")[: rng.choice((1, 2, 4, 8))]
    start = rng.randrange(len(data))
    return (data[:start] + number + data[start + len(number) :])[: len(data)]


def _broken(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((_flipped, _cut, _overwritten))(data, rng)


def broken_pth(rng: random.Random) -> bytes:
    return _broken(whole_pth(rng), rng)


def broken_end_pth(rng: random.Random) -> bytes:
    """The directory and the end of the archive are broken, the members whole."""
    data = whole_pth(rng)
    start = data.index(b"PK\1\2")
    return data[:start] + _broken(data[start:], rng)


def spliced_pth(rng: random.Random) -> bytes:
    """Members are dropped, doubled, renamed, exchanged or broken, in an archive that is whole."""
    members = _members(whole_pth(rng))
    for _ in range(rng.randint(1, 3)):
        first, second = rng.randrange(len(members)), rng.randrange(len(members))
        (name, data), (other, _) = members[first], members[second]
        renamed = rng.choice((other, name.upper(), name.replace("archive", "other"), name.replace("/", ""), f"archive/{name}"))
        changed = rng.choice(((renamed, data), (name, _broken(data or b"0", rng)), (name, rng.randbytes(rng.randrange(200)))))
        members[first : first + rng.randint(0, 1)] = rng.choice(([], [changed], [(name, data)]))
        members = members or [changed]
    return _archive(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def broken_pickle_pth(rng: random.Random) -> bytes:
    """Opcodes are dropped, doubled, exchanged, put in or given other arguments, in an archive that is whole."""
    members = dict(_members(whole_pth(rng)))
    opcodes = _opcodes(members["archive/data.pkl"])
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(opcodes))
        old = opcodes[at]
        change = rng.choice(([], [old] * 2, [rng.choice(opcodes)], [old, _opcode(rng)], [_overwritten(old, rng)]))
        opcodes[at : at + 1] = change
        opcodes = opcodes or [b"."]
    members["archive/data.pkl"] = b"".join(opcodes)
    return _archive([*members.items()])


def random_pickle_pth(rng: random.Random) -> bytes:
    """Opcodes as they come, some of them hundreds of times."""
    members = dict(_members(whole_pth(rng)))
    known = _opcodes(members["archive/data.pkl"])
    stream = [rng.choice((_opcode(rng), *rng.choices(known, k=3))) for _ in range(rng.randint(1, 200))]
    stream[rng.randrange(len(stream))] *= rng.choice((1, 300))
    members["archive/data.pkl"] = b"\x80\x02" + b"".join(stream) + b"."
    return _archive([*members.items()])


def broken_safetensors(rng: random.Random) -> bytes:
    return _broken(whole_safetensors(rng), rng)


def broken_header_safetensors(rng: random.Random) -> bytes:
    """The text of the header is broken, and its length is often right."""
    header, data = _parts(whole_safetensors(rng))
    text = _broken(header, rng)
    length = rng.choice((len(text), len(text), len(text), len(header), *EXTREMES[-8:]))
    return struct.pack("<Q", length) + text + data


def other_header_safetensors(rng: random.Random) -> bytes:
    """The header is whole, and says something else."""
    text, data = _parts(whole_safetensors(rng))
    header = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(sorted(header))
        values = [*EXTREMES, -1, 0.5, "F16", "I32", "F64", None, [], {}, [0], [2**40] * 3, "\ud800", "x" * 1000, header[name]]
        if isinstance(header[name], dict) and header[name] and rng.random() < 0.8:
            key = rng.choice(sorted(header[name]))
            value = header[name][key]
            numbers = isinstance(value, list) and value and rng.random() < 0.7
            changed = [rng.choice((n, n + 1, rng.choice(EXTREMES))) for n in value] if numbers else rng.choice(values)
            header[name] = {**header[name], key: changed}
        else:
            header[rng.choice((name, "__metadata__", "other", f"module.{name}"))] = rng.choice(values)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """The header of a safetensors file, and what follows it."""
    end = 8 + struct.unpack_from("<Q", data)[0]
    return data[8:end], data[end:]


def _opcodes(pickle: bytes) -> list[bytes]:
    starts = [at or 0 for _, _, at in pickletools.genops(pickle)]
    return [pickle[start:stop] for start, stop in zip(starts, [*starts[1:], len(pickle)], strict=True)]


def _opcode(rng: random.Random) -> bytes:
    """Any opcode, with an argument that may be one of it."""
    code = rng.choice(pickletools.opcodes).code.encode("latin-1")
    number = rng.choice(EXTREMES).to_bytes(8, "little")[: rng.choice((0, 1, 2, 4, 8))]
    return code + rng.choice((number, rng.choice(NAMES) + b"\n", b"\x01a", b"\1\0\0\0a", rng.randbytes(rng.randrange(9))))


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _archive(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings(action="ignore"):  # of doubled names
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


MAKERS = (
    *(whole_pth, broken_pth, broken_end_pth, spliced_pth, broken_pickle_pth, broken_pickle_pth, random_pickle_pth),
    *(whole_safetensors, broken_safetensors, broken_header_safetensors, other_header_safetensors),
)
"""What makes the files, in turns. A name's end is the file's."""
