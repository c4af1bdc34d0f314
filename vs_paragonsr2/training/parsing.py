"""Turns parsed YAML into dataclasses, as their annotations say."""

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

from ..support.errors import ParagonSR2Error


def build(kind: type[Any], value: object, place: str) -> Any:
    """Turn a piece of parsed YAML into the dataclass, path, list or number that its annotation ``kind`` asks for.

    ``place`` is where the piece lies in the file, as ``train.losses``; it is empty for the whole file.

    Raises ParagonSR2Error, naming the place, where a key is unknown, missing or of another type.
    """
    shown = place or "the file"
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ParagonSR2Error(f"{shown} is {value!r}: expected keys and values")
        hints = typing.get_type_hints(kind)
        fields = {f.name: f for f in dataclasses.fields(kind)}
        for key in value:
            if key not in fields:
                raise ParagonSR2Error(f"{shown} has the unknown key {key!r}: expected {', '.join(fields)}")
        for name, f in fields.items():
            needed = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            if needed and name not in value:
                raise ParagonSR2Error(f"{shown} lacks the key {name!r}")
        built = kind(**{key: build(hints[key], item, f"{place}.{key}".lstrip(".")) for key, item in value.items()})
        names = getattr(kind, "NAMES", None)
        if names is not None and value.get("type", names[0]) not in names:
            raise ParagonSR2Error(f"{place}.type is {value['type']!r}: expected {' or '.join(names)}")
        return built
    origin = typing.get_origin(kind)
    if origin is list:
        (item_kind,) = typing.get_args(kind)
        items = value if isinstance(value, list) else [value]
        return [build(item_kind, item, f"{place}[{i}]") for i, item in enumerate(items)]
    if origin is types.UnionType:
        if value is None:
            return None
        return build(next(a for a in typing.get_args(kind) if a is not types.NoneType), value, place)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ParagonSR2Error(f"{shown} is {value!r}: expected {'a path' if kind is Path else kind.__name__}")
    return value
