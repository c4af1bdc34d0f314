"""Time upscale() against its peer or another checkout, and other benchmarks by a word: ``--help`` lists them.

python3 scripts/benchmark.py [WORD] [--help]
"""

import sys
from importlib import import_module

from benchmarks.arguments import parse
from bootstrap import run_inside


def main() -> None:
    word, extras, arguments = parse(sys.argv[1:])
    run_inside(*extras)
    # Imported only now: what is not needed is not loaded, since the processes that a comparison starts inherit its peak memory.
    from vs_paragonsr2 import ParagonSR2Error

    try:
        import_module(f"benchmarks.{word}").run(arguments)
    except ParagonSR2Error as error:
        sys.exit(f"benchmark: {error}")


if __name__ == "__main__":
    main()
