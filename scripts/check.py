"""Set up what is needed and run every check: style, types, tests. Further arguments go to pytest,
where ``-n 0`` runs one test at a time.

python3 scripts/check.py [ARGUMENT OF PYTEST ...]
"""

import os
import subprocess
import sys

from bootstrap import ROOT, Arguments, run_inside

PLATFORMS = ("linux", "darwin", "win32")
"""Systems that the types are checked for. Each has a cache of its own: mypy begins anew where a cache is another system's."""

WORKERS = ["-n", "2", "--dist", "loadfile"]
"""Two processes of tests at once: much of a test is one thread's work, and many start a program and wait for it."""


def main() -> None:
    _, further = Arguments(__doc__).parse_known_args()
    run_inside("test")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # PyTorch's threads in each of them: two processes keep two cores busy already
    commands = [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        *(["mypy", "--platform", platform, "--cache-dir", f".mypy_cache/{platform}"] for platform in PLATFORMS),
    ]
    # All of them, so that one run says all there is to mend, and at once, since each has one thread; pytest last, so that its
    # summary closes the output.
    checks = [subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT) for command in commands]
    codes = [abs(check.wait()) for check in checks]
    tests = subprocess.run([sys.executable, "-m", "pytest", *WORKERS, *further], cwd=ROOT, check=False)
    sys.exit(max(*codes, abs(tests.returncode)))


if __name__ == "__main__":
    main()
