"""An mpv process that is driven over its JSON IPC."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

SECONDS = 300.0
"""How long an answer may take, however busy the machine is."""

TROUBLE = re.compile(r"\[ *[\d.]+\](\[[ef]\]|\[w\]\[(vf|vapoursynth|user_filter_wrapper|paragonsr2)\b)")
"""How a line of the log begins that is an error of any part of mpv, or a warning of a part that has to do with the filter."""


class Mpv:
    """A player without a terminal, on a socket of its own. Its words go to a log; Python's and VapourSynth's go to another file."""

    def __init__(self, program: Sequence[str], folder: Path, *options: object, environment: dict[str, str] | None = None) -> None:
        self.log_file, self._said_file = folder / "mpv.log", folder / "said.txt"
        ours, theirs = socket.socketpair()
        common = ["--no-terminal", "--idle", "--no-audio", "--osd-level=0", f"--log-file={self.log_file}"]
        ipc = f"--input-ipc-client=fd://{theirs.fileno()}"
        with theirs, self._said_file.open("wb") as said:
            self.process = subprocess.Popen(
                [*program, *common, ipc, *map(str, options)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=os.environ | (environment or {}),
            )
        ours.settimeout(SECONDS)
        self._socket, self._lines = ours, ours.makefile("rb")
        self._numbers, self._events = count(1), list[dict[str, Any]]()

    def command(self, *words: object) -> Any:
        """What the command answers. Raises RuntimeError where it fails, EOFError where the player is gone."""
        number = next(self._numbers)
        self._socket.sendall(json.dumps({"command": words, "request_id": number}).encode() + b"\n")
        while (message := self._next()).get("request_id") != number or "error" not in message:
            self._events.append(message)
        if message["error"] != "success":
            raise RuntimeError(f"{words}: {message['error']}")
        return message.get("data")

    def get(self, name: str) -> Any:
        return self.command("get_property", name)

    def set(self, name: str, value: object) -> None:
        self.command("set_property", name, value)

    def wait(self, event: str) -> dict[str, Any]:
        """The next event of this name since the last one that was waited for; the ones before it are forgotten."""
        while True:
            message = self._events.pop(0) if self._events else self._next()
            if message.get("event") == event:
                return message

    def wait_until(self, name: str, value: object) -> None:
        """Wait until a property has the value."""
        number = next(self._numbers)
        self.command("observe_property", number, name)
        while (message := self.wait("property-change")).get("id") != number or message.get("data") != value:
            pass
        self.command("unobserve_property", number)

    def load(self, path: Path) -> None:
        """Play a file in place of what is played, and wait until its first frame is on display."""
        self.command("loadfile", str(path))
        self._events.clear()
        self.wait("file-loaded")
        self.wait("playback-restart")

    def seek(self, seconds: float) -> None:
        """Seek to the frame of that time, and wait until it is on display."""
        self.command("seek", seconds, "absolute+exact")
        self._events.clear()  # what came before the answer is of what was done before
        self.wait("playback-restart")

    def wait_for_loop(self) -> None:
        """Wait until it has gone back by itself, and shows that frame."""
        self.wait("seek")
        self.wait("playback-restart")

    def resident(self) -> int:
        """How many bytes of memory the process holds."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="utf-8").split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def quit(self) -> int:
        """Its exit status."""
        self.command("quit")
        return self.process.wait(SECONDS)

    def log(self) -> list[str]:
        return self.log_file.read_text(errors="replace", encoding="utf-8").splitlines()

    def trouble(self) -> list[str]:
        """The log's warnings and errors, and whatever Python or VapourSynth has said that is no mere information."""
        said = [
            line
            for line in self._said_file.read_text(errors="replace", encoding="utf-8").splitlines()
            if not line.startswith("Information:")
        ]
        return [line for line in self.log() if TROUBLE.match(line)] + said

    def close(self) -> None:
        """End the process if it is still there."""
        self.process.kill()
        self.process.wait()
        self._lines.close()
        self._socket.close()

    def _next(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise EOFError(f"mpv has ended; the log's last lines: {self.log()[-5:]}")
        message: dict[str, Any] = json.loads(line)
        return message


type Player = Callable[..., Mpv]
"""Starts a player with options of mpv's, and with variables of its environment by keyword."""
