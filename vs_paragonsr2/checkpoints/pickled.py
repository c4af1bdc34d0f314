"""Reads what torch.save wrote, with NumPy and the standard library alone.

A checkpoint is data from strangers. Its pickle is run by a machine with a few opcodes, which can make dictionaries, lists, plain
values and tensors, and nothing else; a name in it is looked up in a short list. Time and memory are bounded beforehand.
"""

import pickletools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ..support.arguments import shown
from ..support.errors import ParagonSR2Error
from .archive import read_archive, unsaved
from .storages import STORAGES, Storage, Storages, damaged

MAX_PICKLE_BYTES = 4 * 2**20
"""Most bytes that a pickle may have."""

MAX_STEPS = 200_000
"""Most opcodes that are run, and most steps of a walk through the tree that they make. A tensor takes 25 opcodes."""

MAX_STRING_BYTES, MAX_INTEGER_BYTES = 64 * 2**10, 16
"""Most bytes that a string and a whole number may have."""

MAX_DEPTH = 8
"""How many containers may lie within each other."""

MAX_KEY_LETTERS = 256
"""Most letters of a dictionary's key: nested keys are joined to a name for each tensor, so that long ones would add up."""

MAX_KEY = 2**20
"""What numbers that are keys of dictionaries must be below: among larger ones, a stranger can find many that collide."""

CALLABLES = ("collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter")

NAMES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS = {
    name: struct.Struct(form)
    for form, names in {
        "<B": "PROTO BININT1 BINPUT BINGET LONG1 SHORT_BINUNICODE",
        "<H": "BININT2",
        "<i": "BININT",
        "<I": "LONG_BINPUT LONG_BINGET BINUNICODE",
        "<Q": "FRAME BINUNICODE8",
        ">d": "BINFLOAT",
    }.items()
    for name in names.split()
}
"""The number that follows an opcode: a value, an index of the memory, or how many bytes come next."""

TAKEN = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2, "STACK_GLOBAL": 2}
"""How many values an opcode takes off the stack; TUPLE, APPENDS and SETITEMS take those above the mark."""


def read_pickled(path: Path) -> Any:
    """The tree that torch.save of PyTorch 1.6 or later wrote to a file.

    Dictionaries become plain ones, whose keys are strings and whole numbers. Tensors become C-contiguous arrays that own their
    memory: bfloat16 becomes float32, every other type stays as it is. Lists, tuples, strings, numbers, booleans and None may lie
    beside them. Nothing lies within itself, and a walk through the whole tree has at most ``MAX_STEPS`` steps.

    Raises:
        ParagonSR2Error: the file cannot be read, is damaged, or holds anything else or more than a checkpoint may. The message
            begins with the path. Nothing in the file was executed.
    """
    try:
        members = read_archive(path)
        pickle, folder = _pickle(members)
        return _unfolded(_Machine(pickle, Storages(members, folder)).run(), count())
    except ParagonSR2Error as error:
        raise ParagonSR2Error(f"{path}: {error}") from error
    except OSError as error:
        raise ParagonSR2Error(f"{path}: cannot be read ({error})") from error


def _pickle(members: dict[str, memoryview]) -> tuple[bytes, str]:
    """The one pickle of an archive, and the folder in which it and everything else lie."""
    found = [name for name in members if name.casefold().endswith("data.pkl")]
    if len(found) != 1 or not re.fullmatch(r"[^/]+/data\.pkl", found[0]):
        raise unsaved("expected one data.pkl, in a folder")
    if len(members[found[0]]) > MAX_PICKLE_BYTES:
        raise ParagonSR2Error(f"its data.pkl has more than the {MAX_PICKLE_BYTES >> 20} MiB that are read")
    return bytes(members[found[0]]), found[0].removesuffix("data.pkl")


def _unfolded(tree: Any, steps: Iterator[int], depth: int = 0) -> Any:
    """A copy of the tree in which no container comes twice, so that every walk through it comes to an end."""
    if next(steps) >= MAX_STEPS or depth > MAX_DEPTH:
        raise ParagonSR2Error("its dictionaries or lists are within themselves, or deeper or more than in any checkpoint")
    match tree:
        case dict():
            return {key: _unfolded(value, steps, depth + 1) for key, value in tree.items()}
        case list() | tuple():
            return type(tree)(_unfolded(value, steps, depth + 1) for value in tree)
        case None | bool() | int() | float() | str() | np.ndarray():
            return tree
    raise _foreign(tree.name if isinstance(tree, _Name) else "a storage")


def _foreign(name: str) -> ParagonSR2Error:
    return ParagonSR2Error(
        f"holds Python objects other than tensors ({shown(name)}), and nothing of it was run. "
        "Ask for the state_dict alone, as .safetensors if possible"
    )


@dataclass(frozen=True, slots=True)
class _Name:
    """The name of a class or function, which stands for it."""

    name: str


def _is_key(value: Any) -> bool:
    """Whether a value may be hashed. A tuple may not: it can hold another one twice, which holds another one twice, and so on."""
    return len(value) <= MAX_KEY_LETTERS if type(value) is str else type(value) is int and 0 <= value < MAX_KEY


class _Machine:
    """What a pickle is run on: a stack of values, the stacks below its marks, and a numbered memory."""

    def __init__(self, pickle: bytes, storages: Storages) -> None:
        self._file, self._storages = BytesIO(pickle), storages
        self._stack, self._below, self._memory = list[Any](), list[list[Any]](), dict[int, Any]()

    def run(self) -> Any:
        """Run the pickle, and return what it makes."""
        try:
            for _ in range(MAX_STEPS):
                opcode = NAMES[self._file.read(1)]
                if opcode == "STOP":
                    return self._made()
                if opcode not in ACTIONS:
                    raise _foreign(opcode)
                ACTIONS[opcode](self, opcode)
        except ParagonSR2Error:
            raise
        except (IndexError, KeyError, ValueError, struct.error) as error:  # too short a stack or file, no such memory or opcode
            raise damaged(f"{type(error).__name__} in its data.pkl") from error
        raise ParagonSR2Error(f"its data.pkl has more than the {MAX_STEPS} steps that are run")

    def _made(self) -> Any:
        if self._below or len(self._stack) != 1 or self._file.read(1):
            raise damaged("its data.pkl makes no single value")
        return self._stack[0]

    def _number(self, opcode: str) -> Any:
        form = NUMBERS[opcode]
        return form.unpack(self._file.read(form.size))[0]

    def _bytes(self, opcode: str, most: int) -> bytes:
        length = self._number(opcode)
        data = self._file.read(length) if length <= most else b""
        if len(data) != length:
            raise damaged(f"a string or number of {length} bytes")
        return data

    def _taken(self, opcode: str) -> list[Any]:
        """The values that an opcode takes off the stack."""
        if opcode in TAKEN:
            return [self._stack.pop() for _ in range(TAKEN[opcode])][::-1]
        taken, self._stack = self._stack, self._below.pop()
        return taken

    def _arguments(self) -> tuple[Any, ...]:
        arguments = self._stack.pop()
        if not isinstance(arguments, tuple):
            raise damaged("arguments that are no tuple")
        return arguments

    def _skip(self, opcode: str) -> None:
        """The number of the protocol and the lengths of frames change nothing."""
        self._number(opcode)

    def _mark(self, opcode: str) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _push_constant(self, opcode: str) -> None:
        self._stack.append(CONSTANTS[opcode])

    def _push_number(self, opcode: str) -> None:
        self._stack.append(self._number(opcode))

    def _push_integer(self, opcode: str) -> None:
        self._stack.append(int.from_bytes(self._bytes(opcode, MAX_INTEGER_BYTES), "little", signed=True))

    def _push_string(self, opcode: str) -> None:
        self._stack.append(self._bytes(opcode, MAX_STRING_BYTES).decode())

    def _push_tuple(self, opcode: str) -> None:
        values = self._taken(opcode)  # before ``self._stack`` is looked up, since it may be replaced
        self._stack.append(tuple(values))

    def _push_list(self, opcode: str) -> None:
        self._stack.append([])

    def _push_dict(self, opcode: str) -> None:
        self._stack.append({})

    def _append(self, opcode: str) -> None:
        values = self._taken(opcode)
        if not isinstance(self._stack[-1], list):
            raise damaged("values for no list")
        self._stack[-1].extend(values)

    def _set(self, opcode: str) -> None:
        values = self._taken(opcode)
        if not isinstance(self._stack[-1], dict) or len(values) % 2:
            raise damaged("values for no dictionary")
        if not all(_is_key(key) for key in values[::2]):
            raise damaged("a dictionary has a key that is no short string and no small number")
        self._stack[-1].update(zip(values[::2], values[1::2], strict=True))

    def _remember(self, opcode: str) -> None:
        place = len(self._memory) if opcode == "MEMOIZE" else self._number(opcode)
        if place >= MAX_STEPS:
            raise damaged(f"{place} places in the memory")
        self._memory[place] = self._stack[-1]

    def _recall(self, opcode: str) -> None:
        self._stack.append(self._memory[self._number(opcode)])

    def _push_name(self, opcode: str) -> None:
        if opcode == "GLOBAL":
            parts: list[Any] = [self._file.readline().decode().removesuffix("\n") for _ in range(2)]
        else:
            parts = self._taken(opcode)
        name = ".".join(parts) if all(isinstance(part, str) for part in parts) else opcode
        if name not in CALLABLES and name not in STORAGES:
            raise _foreign(name)
        self._stack.append(_Name(name))

    def _push_storage(self, opcode: str) -> None:
        match self._arguments():
            case (str("storage"), _Name(kind), str(key), str(), int(values)) if kind in STORAGES:  # any device will do
                self._stack.append(self._storages.storage(kind, key, values))
            case _:
                raise damaged("a storage of another form")

    def _call(self, opcode: str) -> None:
        arguments, called = self._arguments(), self._stack.pop()
        match called, arguments:
            case _Name("collections.OrderedDict"), ():
                self._stack.append({})
            case _Name("torch._utils._rebuild_parameter"), (np.ndarray() as tensor, _, _):
                self._stack.append(tensor)
            case _Name("torch._utils._rebuild_tensor_v2"), (Storage() as storage, offset, tuple(shape), tuple(steps), _, _):
                self._stack.append(self._storages.tensor(storage, offset, shape, steps))
            case _:
                raise damaged("a call of another form")

    def _drop_state(self, opcode: str) -> None:
        """The attributes of a state_dict, which are its ``_metadata``, say nothing about the tensors."""
        self._stack.pop()
        if not isinstance(self._stack[-1], dict):
            raise damaged("attributes of no dictionary")


ACTIONS = {
    name: action
    for action, names in {
        _Machine._skip: "PROTO FRAME",
        _Machine._mark: "MARK",
        _Machine._push_constant: "NONE NEWTRUE NEWFALSE",
        _Machine._push_number: "BININT BININT1 BININT2 BINFLOAT",
        _Machine._push_integer: "LONG1",
        _Machine._push_string: "BINUNICODE SHORT_BINUNICODE BINUNICODE8",
        _Machine._push_tuple: "EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 TUPLE",
        _Machine._push_list: "EMPTY_LIST",
        _Machine._push_dict: "EMPTY_DICT",
        _Machine._append: "APPEND APPENDS",
        _Machine._set: "SETITEM SETITEMS",
        _Machine._remember: "BINPUT LONG_BINPUT MEMOIZE",
        _Machine._recall: "BINGET LONG_BINGET",
        _Machine._push_name: "GLOBAL STACK_GLOBAL",
        _Machine._push_storage: "BINPERSID",
        _Machine._call: "REDUCE",
        _Machine._drop_state: "BUILD",
    }.items()
    for name in names.split()
}
"""What is done at each opcode. Pickles of tensors have no others."""
