"""The shipped models, and that they are found however the package got there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import golden
from plain import random_network
from safetensors.torch import save_file

from vs_paragonsr2 import ParagonSR2Error, load_network, shipped_models
from vs_paragonsr2.checkpoints import load_checkpoint
from vs_paragonsr2.checkpoints.load import description_of
from vs_paragonsr2.checkpoints.models import find_model

ROOT = Path(__file__).resolve().parents[1]
FIND = (
    "import vs_paragonsr2, vs_paragonsr2.checkpoints.models as m\n"
    "print(vs_paragonsr2.__file__, m.find_model('realtime', 2).path, sep='|')"
)


def found_by(folder: Path, **environment: str) -> tuple[Path, Path]:
    """The package's and the model's path as a new process in a folder sees them."""
    clean = {"PATH": "/usr/bin:/bin", **environment}
    done = subprocess.run(
        [sys.executable, "-c", FIND], cwd=folder, env=clean, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    package, model = done.stdout.strip().split("|")
    return Path(package), Path(model)


def copy_of_the_checkout(folder: Path) -> Path:
    for name in ("vs_paragonsr2", "models"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_found_in_an_editable_install(tmp_path: Path) -> None:
    package, model = found_by(tmp_path)
    assert package == ROOT / "vs_paragonsr2/__init__.py"
    assert model == ROOT / "models/realtime_2x.safetensors"


def test_found_in_a_bare_checkout(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "elsewhere").mkdir()
    checkout = copy_of_the_checkout(tmp_path / "checkout")
    package, model = found_by(tmp_path / "elsewhere", PYTHONPATH=str(checkout))
    assert package == checkout / "vs_paragonsr2/__init__.py"
    assert model == checkout / "models/realtime_2x.safetensors"


def test_found_in_an_install(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    source, target = copy_of_the_checkout(tmp_path / "source"), tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, str(source)], check=True)
    shutil.rmtree(source)
    package, model = found_by(tmp_path, PYTHONPATH=str(target))
    assert package == target / "vs_paragonsr2/__init__.py"
    assert model == target / "vs_paragonsr2/models/realtime_2x.safetensors"
    for name in (
        "py.typed",
        "models/realtime_2x.md",
        "models/SHA256SUMS",
        "network/paragonsr2.py",
        "network/stream/block.py",
        "program/fold.py",
        "checkpoints/load.py",
        "backends/openvino/lowering.py",
        "training/trainer.py",
        "backends/reference/session.py",
    ):
        assert (target / "vs_paragonsr2" / name).is_file()


def spoil(path: Path) -> None:
    """Change the lowest bit of the last weight."""
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda models: spoil(models / "realtime_2x.safetensors"),
            r"realtime_2x.safetensors: damaged .* is \w{64}: expected \w{64} ",
        ),
        (lambda models: (models / "realtime_2x.safetensors").unlink(), "realtime_2x.safetensors'?: the file cannot be read"),
        (lambda models: (models / "SHA256SUMS").unlink(), "SHA256SUMS: the list of models cannot be read"),
        (
            lambda models: (models / "SHA256SUMS").write_text("realtime_2x.safetensors\n", encoding="utf-8"),
            "'realtime_2x.safetensors' is no SHA-256",
        ),
    ],
    ids=["one bit", "no file", "no list", "no hash"],
)
def test_a_damaged_model_is_refused(tmp_path: Path, damage: Callable[[Path], None], words: str) -> None:
    checkout = copy_of_the_checkout(tmp_path)
    assert found_by(tmp_path, PYTHONPATH=str(checkout))[1] == checkout / "models/realtime_2x.safetensors"
    damage(checkout / "models")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        found_by(tmp_path, PYTHONPATH=str(checkout))
    assert re.search(f"ParagonSR2Error: .*{words}", failed.value.stderr)


def test_the_list_holds_every_model_in_the_folder() -> None:
    assert sorted(shipped_models().values()) == sorted((ROOT / "models").glob("*.safetensors"))


@pytest.mark.parametrize("named", shipped_models().items(), ids=lambda named: f"{named[0][0]}-{named[0][1]}x")
def test_every_shipped_model_is_what_its_name_says(named: tuple[tuple[str, int], Path]) -> None:
    (name, scale), path = named
    network = load_network(path)
    assert (network.variant, network.scale, network.version) == (name.split("_")[0], scale, 11)
    assert path.with_suffix(".md").is_file()


def test_a_name_without_scale_takes_the_smallest_and_a_file_its_own() -> None:
    assert find_model("realtime", None).scale == 2
    assert find_model(golden("realtime_x4"), None).scale == 4


def test_the_hash_is_the_files(tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    shutil.copy(golden("realtime_x2"), copy)
    assert find_model(copy, 2).sha256 == find_model(golden("realtime_x2"), 2).sha256
    shutil.copy(golden("realtime_x2_alpha0"), copy)
    assert find_model(copy, 2).sha256 != find_model(golden("realtime_x2"), 2).sha256


@pytest.mark.parametrize("model", ["", "Realtime", "realtime_2x", "folder/model"])
def test_unknown_names_are_told_what_there_is(model: str) -> None:
    with pytest.raises(ParagonSR2Error, match=r"expected a shipped model \('realtime'.*\) or the path of a file in .safetensors"):
        find_model(model, 2)


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "golden").glob("*x?.safetensors")), ids=lambda path: path.stem)
def test_the_header_says_what_every_checkpoint_is(path: Path) -> None:
    network, description = load_network(path), description_of(path, "")
    assert (description.variant, description.version, description.scale) == (network.variant, network.version, network.scale)
    assert description.sees_whole_picture == (network.window is not None)


@pytest.mark.parametrize("prefix", ["params_ema.", "model.module.", "params.module._orig_mod."])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["stream", "photo", "photo without attention", "realtime 8"])
def test_header_and_loader_say_the_same_of_wrapped_checkpoints(name: str, scale: int, prefix: str, tmp_path: Path) -> None:
    tensors = random_network(name, scale).state_dict()
    others = {"optimizer.step": torch.zeros(1)} if prefix != "model.module." else {}
    path = tmp_path / "a.safetensors"
    save_file({f"{prefix}{key}": tensor.contiguous() for key, tensor in tensors.items()} | others, path)
    torch.save({f"{prefix}{key}": tensor for key, tensor in tensors.items()} | others, path.with_suffix(".pth"))
    description = description_of(path, prefix + name)
    assert description.scale == scale
    assert description.sees_whole_picture == (name == "photo")
    assert load_checkpoint(path).description == load_checkpoint(path.with_suffix(".pth")).description == description


def test_a_file_that_is_no_model_is_refused_where_its_scale_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for tensors in ({"weight": torch.zeros(1)}, {"conv_in.weight": torch.zeros(()), "up.0.weight": torch.zeros(64, 1)}):
        save_file(tensors, path)
        with pytest.raises(ParagonSR2Error, match="not a ParagonSR2 checkpoint"):
            find_model(path, None)
    path.write_bytes(b"nothing")
    with pytest.raises(ParagonSR2Error, match="truncated, or no safetensors file"):
        find_model(path, None)
