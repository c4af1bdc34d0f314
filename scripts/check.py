"""Set up what is needed and run every check: style, types, tests. Further arguments go to pytest,
where ``-n 0`` runs one test at a time.

python3 scripts/check.py
"""

import os
import subprocess
import sys

from bootstrap import ROOT, run_inside

WORKERS = ["-n", "2", "--dist", "loadfile"]
"""Two processes of tests at once: much of a test is one thread's work, and many start a program and wait for it."""


def main() -> None:
    run_inside("test")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # PyTorch's threads in each of them, which two cores have no room for
    commands = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["pytest", *WORKERS, *sys.argv[1:]]]
    # All of them, so that one run says all there is to mend; pytest last, its summary closes the output.
    codes = [subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode for command in commands]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
