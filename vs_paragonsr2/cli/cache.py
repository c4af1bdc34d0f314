"""``vs-paragonsr2 cache``: what is kept on disk, and how to have less of it."""

import argparse
import time

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from ..support.cache import cache_folder, entries, excess, remove
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
    folder, console = cache_folder(), Console()
    found = entries(folder)
    if arguments.action == "prune":
        if not arguments.all and arguments.max_mib is None and arguments.max_days is None:
            raise ParagonSR2Error("cache prune: expected --max-mib, --max-days or --all")
        for name in ("max_mib", "max_days"):
            value = getattr(arguments, name)
            if value is not None and not value >= 0:
                raise ParagonSR2Error(f"--{name.replace('_', '-')} is {value}: expected 0 or more")
        most = None if arguments.max_mib is None else int(arguments.max_mib * 2**20)
        chosen = found if arguments.all else excess(found, max_bytes=most, max_days=arguments.max_days)
        gone = [entry for entry in chosen if remove(entry)]
        console.print(f"{len(gone)} of {len(found)} entries deleted, {decimal(sum(entry.size for entry in gone))}", highlight=False)
        if len(gone) < len(chosen):
            console.print(f"{len(chosen) - len(gone)} are in use, or cannot be deleted", highlight=False)
        return
    table = Table(title=f"{folder}: {decimal(sum(entry.size for entry in found))}", title_justify="left")
    for column in ("entry", "made by", "size", "modified"):
        table.add_column(column, justify="right" if column == "size" else "left")
    for entry in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.modified))
        table.add_row(entry.path.name, entry.kind, decimal(entry.size), when)
    console.print(table)
