"""``vs-paragonsr2 backends``: what frames can be computed with, and what each takes, as the backends describe themselves."""

import argparse
from collections.abc import Iterator
from dataclasses import Field
from typing import Any

from rich.console import Console
from rich.table import Table

from ..backends import backends
from ..backends.base import AnyBackend
from ..backends.options import described
from ..support.errors import ParagonSR2Error


def add_to(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the word."""
    parser = words.add_parser("backends", help="list the backends and the options that each takes", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/backends.md")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    console = Console(highlight=False)
    if arguments.markdown:
        console.print(markdown(), soft_wrap=True, markup=False)
        return
    table = Table()
    for column in ("backend", "devices here", "options"):
        table.add_column(column)
    for backend in backends().values():
        table.add_row(backend.name, devices(backend), ", ".join(described(backend.options_type)))
    console.print(table)


def devices(backend: AnyBackend) -> str:
    """The devices of a backend, or what this machine lacks for it."""
    lack = backend.missing(None)
    if lack is None:
        try:
            backend.load()
            return ", ".join(backend.list_devices())
        except ParagonSR2Error as error:
            lack = str(error)
    return lack


def markdown() -> str:
    """A table of the backends and one of their options, as docs/backends.md has them. Nothing in it depends on the machine."""
    return "\n".join([*_table_of_backends(), "", *_table_of_options()])


def _table_of_backends() -> Iterator[str]:
    yield "| backend | runs on | devices | several | precisions | chosen |"
    yield "|---|---|---|---|---|---|"
    for backend in backends().values():
        cells = (
            f"`{backend.name}`",
            backend.title,
            _codes(backend.devices),
            "yes" if backend.several_devices else "no",
            _codes(backend.precisions),
            "by name" if backend.preference is None else str(backend.preference),
        )
        yield f"| {' | '.join(cells)} |"


def _table_of_options() -> Iterator[str]:
    found: dict[str, Field[Any]] = {}
    for backend in backends().values():
        found = described(backend.options_type) | found
    yield "| option | says | taken by | without it |"
    yield "|---|---|---|---|"
    for name, field in found.items():
        takers = [backend for backend in backends().values() if name in described(backend.options_type)]
        chosen = [f"`{backend.name}`: {backend.defaults[name]}" for backend in takers if name in backend.defaults]
        taken = "all" if len(takers) == len(backends()) else _codes(backend.name for backend in takers)
        plain: dict[Any, str] = {None: "no bound", False: "no", (0,): "0"}
        without = "<br>".join(chosen) if chosen else plain[field.default]
        yield f"| `{name}` | {field.metadata['text']} | {taken} | {without} |"


def _codes(words: "Iterator[str] | tuple[str, ...]") -> str:
    return ", ".join(f"`{word}`" for word in words)
