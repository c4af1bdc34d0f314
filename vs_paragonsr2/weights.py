"""The models that ship with the package, and where a model's file is."""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .arguments import checkpoint_file
from .errors import ParagonSR2Error

SUFFIXES = (".safetensors", ".pth", ".pt")

FILE_NAME = re.compile(r"(?P<variant>realtime|stream|photo|pro)_(?P<scale>\d)x(?:_(?P<kind>\w+))?")


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint on disk."""

    path: Path
    sha256: str
    """Of the whole file, in hexadecimal digits."""
    scale: int
    """What was asked for, or else what the file has; a session checks the one against the other."""


def models_folder() -> Path:
    """Where the shipped checkpoints are: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def shipped_models() -> dict[tuple[str, int], Path]:
    """The shipped checkpoints by model name (``"realtime"``, ``"stream_web"``, ...) and scale."""
    found = {}
    for path in sorted(models_folder().glob("*.safetensors")):
        match = FILE_NAME.fullmatch(path.stem)
        if match:
            name = "_".join(filter(None, (match["variant"], match["kind"])))
            found[name, int(match["scale"])] = path
    return found


def find_model(model: str | os.PathLike[str], scale: int | None) -> Model:
    """The checkpoint that ``model`` names: the name of a shipped model, or the path of a file.

    Args:
        scale: chooses among the shipped models of one name; None takes the smallest, or a file's own.

    Raises:
        ParagonSR2Error: no such name, scale or file.
    """
    if not isinstance(model, str | os.PathLike):
        raise ParagonSR2Error(f"model is {model!r}: expected a name or the path of a checkpoint")
    shipped = shipped_models()
    scales = sorted(s for name, s in shipped if name == model)
    if scales:
        chosen = scales[0] if scale is None else scale
        if chosen not in scales:
            raise ParagonSR2Error(
                f"scale is {scale}: the model {model!r} has {', '.join(map(str, scales))}; other scales need a file"
            )
        return _read_model(shipped[str(model), chosen], chosen)
    path = Path(os.fsdecode(model))
    if path.suffix not in SUFFIXES:
        names = ", ".join(repr(name) for name in sorted({name for name, _ in shipped})) or "none"
        raise ParagonSR2Error(
            f"model is {str(model)!r}: expected a shipped model ({names}) or the path of a file in {', '.join(SUFFIXES)}"
        )
    return _read_model(checkpoint_file("model", model), scale)


def _read_model(path: Path, scale: int | None) -> Model:
    try:
        stat = path.stat()
        digest = _digest(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise ParagonSR2Error(f"model is {str(path)!r}: the file cannot be read ({error.strerror})") from error
    return Model(path, digest, _scale_in(path, digest) if scale is None else scale)


@lru_cache(maxsize=64)
def _digest(path: Path, mtime_ns: int, size: int) -> str:
    """A script that is run again, as at each seek in mpv, need not read the file again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _scale_in(path: Path, sha256: str) -> int:
    """The scale of a checkpoint that nobody has named."""
    from .checkpoint import load_network

    return load_network(path).scale
