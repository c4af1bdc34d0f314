"""What users can ask of a backend, described by the backend itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any

from ..support.arguments import whole_number
from ..support.errors import ParagonSR2Error


class OptionError(ParagonSR2Error):
    """The value of an option means nothing, whichever backend it is for."""


def option(text: str, parse: Callable[[str, Any], Any], default: Any = None) -> Any:
    """A field of an Options class that users may give.

    Args:
        text: what the option is and which values it has, for the documentation.
        parse: takes the option's name and the user's value, and returns the field's value. It raises ParagonSR2Error for a
            value that means nothing.
        default: the field's value where the user gives none.
    """
    return field(default=default, metadata={"text": text, "parse": parse})


def positive(name: str, value: object) -> int:
    """A whole number of 1 or more. Raises ParagonSR2Error for anything else."""
    return whole_number(name, value, 1)


def streams(name: str, value: object) -> int:
    """A whole number from 1 to 256. Raises ParagonSR2Error for anything else."""
    return whole_number(name, value, 1, 256)


def flag(name: str, value: object) -> bool:
    """True or False. Raises ParagonSR2Error for anything else."""
    if not isinstance(value, bool):
        raise ParagonSR2Error(f"{name} is {value!r}: expected True or False")
    return value


def word(name: str, value: object) -> str:
    """A string. Raises ParagonSR2Error for anything else."""
    if not isinstance(value, str):
        raise ParagonSR2Error(f"{name} is {value!r}: expected a word, or None to choose")
    return value


def device_indices(name: str, value: object) -> tuple[int, ...]:
    """One number from 0, or several different ones. Raises ParagonSR2Error for anything else."""
    several = value if isinstance(value, list | tuple) else [value]
    indices = tuple(whole_number(name, index, 0) for index in several)
    if not indices or len(set(indices)) < len(indices):
        raise ParagonSR2Error(f"{name} is {value!r}: expected a number from 0, or several different ones")
    return indices


def tile_sides(name: str, value: object) -> tuple[int, int]:
    """(width, height), or one number for both, as (rows, columns). Raises ParagonSR2Error for anything else."""
    try:
        width, height = (whole_number(name, side, 0) for side in (value if isinstance(value, Sequence) else [value] * 2))
    except (ParagonSR2Error, ValueError) as error:
        right = "(width, height) in pixels, 0 for the clip's own, one number for both, or None to choose"
        raise ParagonSR2Error(f"{name} is {value!r}: expected {right}") from error
    return height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the sessions of every backend can be asked for. Equal options share a session.

    A backend with options of its own extends this class by fields that :func:`option` makes. None always means that the user
    gives nothing; ``device`` and ``num_streams`` are filled in before a session sees them.
    """

    # Hardware
    device: str | None = option("kind of device, in the backend's own word", word)
    device_index: tuple[int, ...] = option("which device of that kind, from 0", device_indices, (0,))
    num_streams: int | None = option("frames computed at once, on all devices together, 256 at most", streams)

    # Precision
    precision: str | None = option("precision of the arithmetic", word)

    # Compilation
    wait: bool = option("whether the first frame waits until everything is compiled", flag, False)


def described(options: type[Options]) -> dict[str, Field[Any]]:
    """The options that users may give, by name."""
    return {field.name: field for field in fields(options) if "text" in field.metadata}


def parse(options: type[Options], given: Mapping[str, object], backend: str) -> dict[str, Any]:
    """The values of the fields that users give.

    Raises:
        OptionError: a value means nothing.
        ParagonSR2Error: an option is foreign to the backend.
    """
    known, found = described(options), {}
    for name, value in given.items():
        if name not in known:
            raise ParagonSR2Error(f"{name} is {value!r}: backend {backend!r} has no such option, only {', '.join(sorted(known))}")
        try:
            found[name] = known[name].metadata["parse"](name, value)
        except ParagonSR2Error as error:
            raise OptionError(str(error)) from error
    return found
