"""Play and encode for minutes or hours as users do, and say which frames were wrong or late, and what has grown.

    python3 scripts/soak.py [--minutes N] [--plot PNG] [--seed N] [--acts ACT ...]

It drives upscale() on the processor over films of 40 sizes and the clip that ships, in acts that are played over and over:

    play        shows films at their rate as mpv does, with pauses, and seeks, at each of which the script runs again
    seeks       asks for frames in random order from eight threads, partly in temporal mode
    sizes       runs the script for one size after the other
    kills       kills vspipe, and a process that writes into the cache, and runs both again
    full-disks  runs them where no more fits into a file, by a limit of the process, as the double of a disk that is full

Each frame is compared with what it was when it was computed alone, by the same backend in the same precision. A frame of play is
late where it came after the time of its display, which is counted and no fault. The status is 1 where a frame was wrong, a process
ended as it should not, or more memory, descriptors, threads or temporary files are left than the table's bounds allow.
"""

import sys
from pathlib import Path

from benchmarks.arguments import rate
from bootstrap import ROOT, Arguments, run_inside
from soaking import ACTS


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument(
        "--minutes", type=rate, default=1.0, help="after so many no act begins, but each is played twice (default: %(default)g)"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="plot resident memory over time")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn at random (default: %(default)s)")
    parser.add_argument("--acts", nargs="+", choices=ACTS, default=list(ACTS), metavar="ACT", help=f"of {', '.join(ACTS)}")
    arguments = parser.parse_args()
    run_inside("source", *(["evaluation"] if arguments.plot else []))
    sys.path.insert(0, str(ROOT))  # a copy of the checkout looks at itself, whichever is installed
    from soaking.report import plot, report
    from soaking.run import soak

    result = soak(arguments.minutes, arguments.seed, arguments.acts)
    report(result)
    if arguments.plot:
        plot(result, arguments.plot)
    if result.verdict:
        sys.exit(f"soak: {result.verdict}")


if __name__ == "__main__":
    main()
