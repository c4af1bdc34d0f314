"""The models that ship with the package, and where a model's file is.

``models/SHA256SUMS`` lists what ships, as ``sha256sum *.safetensors`` writes it. The name of a file says what it is, so that
nothing has to be opened to choose one: ``VARIANT_SCALEx[_KIND].safetensors`` is the model ``VARIANT[_KIND]``.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..network import VARIANTS
from ..support.arguments import checkpoint_file, path_name
from ..support.errors import ParagonSR2Error
from .load import SUFFIXES, description_of

SUMS = "SHA256SUMS"

LINE = re.compile(
    r"(?P<sha256>[0-9a-f]{64}) [ *]"
    rf"(?P<file>(?P<variant>{'|'.join(VARIANTS)})_(?P<scale>\d)x(?:_(?P<kind>\w+))?\.safetensors)"
)
"""A line of the list."""


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint on disk."""

    path: Path
    sha256: str
    """The SHA-256 of the whole file, in hexadecimal digits."""
    scale: int
    """What was asked for, or else what the file has; a session checks the one against the other."""


def models_folder() -> Path:
    """Where the shipped checkpoints are: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def shipped_models() -> dict[tuple[str, int], Path]:
    """The shipped checkpoints by model name (``"realtime"``, ``"stream_web"``, ...) and scale."""
    return {key: path for key, (path, _) in _listed().items()}


def _listed() -> dict[tuple[str, int], tuple[Path, str]]:
    """What ``SHA256SUMS`` lists, by model name and scale: the file and the hash that it must have."""
    sums = models_folder() / SUMS
    try:
        lines = sums.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise ParagonSR2Error(f"{sums}: the list of models cannot be read ({error}); install the package again") from error
    found = {}
    for line in lines:
        match = LINE.fullmatch(line)
        if not match:
            raise ParagonSR2Error(f"{sums}: {line!r} is no SHA-256 with a model's file; install the package again")
        name = "_".join(filter(None, (match["variant"], match["kind"])))
        found[name, int(match["scale"])] = sums.with_name(match["file"]), match["sha256"]
    return found


def find_model(model: str | os.PathLike[str], scale: int | None) -> Model:
    """The checkpoint that ``model`` names: the name of a shipped model, or the path of a file.

    Args:
        scale: chooses among the shipped models of one name; None takes the smallest, or a file's own.

    Raises:
        ParagonSR2Error: no such name, scale or file, or a shipped file is not the one that was shipped.
    """
    path = Path(path_name("model", model))
    if path.suffix in SUFFIXES:
        return _read_model(checkpoint_file("model", model), scale)
    shipped = _listed()
    scales = sorted(s for name, s in shipped if name == model)
    if not scales:
        names = ", ".join(repr(name) for name in sorted({name for name, _ in shipped})) or "none"
        raise ParagonSR2Error(
            f"model is {str(model)!r}: expected a shipped model ({names}) or the path of a file in {', '.join(SUFFIXES)}"
        )
    chosen = scales[0] if scale is None else scale
    if chosen not in scales:
        raise ParagonSR2Error(f"scale is {scale}: the model {model!r} has {', '.join(map(str, scales))}; other scales need a file")
    return _verified(*shipped[str(model), chosen], chosen)


def _verified(path: Path, sha256: str, scale: int) -> Model:
    """A shipped model whose file has the hash that is listed for it."""
    model = _read_model(path, scale)
    if model.sha256 != sha256:
        raise ParagonSR2Error(
            f"{path}: damaged or changed, its SHA-256 is {model.sha256}: expected {sha256} as in {SUMS}; install the package again"
        )
    return model


def _read_model(path: Path, scale: int | None) -> Model:
    try:
        stat = path.stat()
        digest = _digest(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise ParagonSR2Error(f"model is {str(path)!r}: the file cannot be read ({error.strerror})") from error
    return Model(path, digest, description_of(path, digest).scale if scale is None else scale)


@lru_cache(maxsize=64)
def _digest(path: Path, mtime_ns: int, size: int) -> str:
    """A script that is run again, as at each seek in mpv, need not read the file again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sees_whole_picture(model: Model) -> bool:
    """Whether an output of the model's network can depend on every input.

    Raises ParagonSR2Error for a bad file.
    """
    return description_of(model.path, model.sha256).sees_whole_picture
