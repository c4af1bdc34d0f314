"""``vs-paragonsr2 cache``: what is kept on disk, and how to have less of it."""

import argparse
import math
import time
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from ..backends import backends
from ..support.cache_folder import cache_folder, distrust, entries, excess, folder_lock, remove, remove_leftovers
from ..support.errors import ParagonSR2Error


def add_to(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the word."""
    parser = words.add_parser("cache", help="list or prune engines and measurements", description=__doc__)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", help="what is there; also without an action")
    prune = actions.add_parser("prune", help="delete entries, the oldest first; what is needed again is made again")
    prune.add_argument("--max-mib", type=float, metavar="MIB", help="until all together take no more")
    prune.add_argument("--max-days", type=float, metavar="DAYS", help="those that are older")
    prune.add_argument("--all", action="store_true", help="all of them")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do what was asked for. Raises ParagonSR2Error for limits that are none."""
    folder, console = cache_folder(), Console(highlight=False)
    if (fault := distrust(folder)) is not None:
        raise ParagonSR2Error(fault)
    if arguments.action == "prune":
        prune(folder, arguments, console)
    else:
        console.print(listing(folder))


def prune(folder: Path, arguments: argparse.Namespace, console: Console) -> None:
    """Delete entries and what killed makers have left, and say how many."""
    if not arguments.all and arguments.max_mib is None and arguments.max_days is None:
        raise ParagonSR2Error("cache prune: expected --max-mib, --max-days or --all")
    for name in ("max_mib", "max_days"):
        value = getattr(arguments, name)
        if value is not None and not 0 <= value < math.inf:
            raise ParagonSR2Error(f"--{name.replace('_', '-')} is {value}: expected a number of 0 or more")
    if not folder.is_dir():
        console.print("0 of 0 entries deleted, 0 bytes")
        return
    most = None if arguments.max_mib is None else int(arguments.max_mib * 2**20)
    try:
        with folder_lock(folder):
            before = entries(folder)
            remove_leftovers(folder)
            found = [entry for entry in before if entry.kind != "part"]
            chosen = found if arguments.all else excess(found, max_bytes=most, max_days=arguments.max_days)
            gone = [entry for entry in chosen if remove(entry)]
    except OSError as error:  # a lock that another process has is one too
        raise ParagonSR2Error(f"{folder} cannot be pruned ({error})") from error
    console.print(f"{len(gone)} of {len(found)} entries deleted, {decimal(sum(entry.size for entry in gone))}")
    if len(found) < len(before):
        left = [entry for entry in before if entry.kind == "part"]
        console.print(f"parts of killed makers deleted: {len(left)}, {decimal(sum(entry.size for entry in left))}")
    if len(gone) < len(chosen):
        console.print(f"{len(chosen) - len(gone)} are in use, or cannot be deleted")


def listing(folder: Path) -> Table:
    """What is there, the newest first."""
    found = entries(folder)
    table = Table(title=f"{folder}: {decimal(sum(entry.size for entry in found))}", title_justify="left")
    for column in ("entry", "made by", "size", "modified"):
        table.add_column(column, justify="right" if column == "size" else "left")
    makers = {kind: backend.title for backend in backends().values() for kind in backend.cache_kinds} | MAKERS
    for entry in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.modified))
        table.add_row(entry.path.name, makers.get(entry.kind, entry.kind), decimal(entry.size), when)
    return table


MAKERS = {"speed": "doctor", "part": "being made, or left by a maker that was killed"}
"""Who makes the entries that no backend makes, by their kind."""
