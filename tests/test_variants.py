"""What every variant's folder says about its blocks, held against the blocks themselves and against the other folders."""

import configparser
import itertools
import subprocess
import sys

import pytest
import torch
from bootstrap import ROOT
from torch import Tensor

from vs_paragonsr2.network import VARIANTS
from vs_paragonsr2.network.block import Block
from vs_paragonsr2.network.layers import LayerScale
from vs_paragonsr2.network.variant import BlockOptions, Variant

KINDS = list(itertools.product(VARIANTS, (10, 11), ("sdpa", None)))
KIND = pytest.mark.parametrize(("name", "version", "attention"), KINDS)


def options_of(variant: Variant, version: int, attention: str | None) -> BlockOptions:
    return BlockOptions(channels=variant.features, version=version, attention=attention)


def random_block(name: str, version: int, attention: str | None) -> Block:
    torch.manual_seed(0)
    block = VARIANTS[name].block(options_of(VARIANTS[name], version, attention)).double()
    for parameter in block.parameters():
        parameter.data.normal_(0, 0.3)
    return block


def test_folders_are_variants_of_their_names_from_small_to_large() -> None:
    folders = {path.parent.name for path in (ROOT / "vs_paragonsr2/network").glob("*/__init__.py")}
    assert set(VARIANTS) == folders
    assert list(VARIANTS) == ["realtime", "stream", "photo", "pro"]


def test_they_are_known_without_pytorch() -> None:
    program = "import sys; sys.modules['torch'] = None; from vs_paragonsr2.network import VARIANTS; print(*VARIANTS)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == list(VARIANTS)


@KIND
def test_a_block_is_recognised_as_of_its_own_variant_alone(name: str, version: int, attention: str | None) -> None:
    names = VARIANTS[name].shapes(options_of(VARIANTS[name], version, attention)).keys()
    assert [other for other, variant in VARIANTS.items() if variant.recognises(names)] == [name]


@KIND
def test_a_folder_knows_the_tensors_of_its_block(name: str, version: int, attention: str | None) -> None:
    tensors = random_block(name, version, attention).state_dict()
    expected = VARIANTS[name].shapes(options_of(VARIANTS[name], version, attention))
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == expected


@KIND
def test_the_nonlinearity_is_between_its_layers(name: str, version: int, attention: str | None) -> None:
    """What the layer before it gives at one pixel changes what the layer behind it is given at that pixel, and nowhere else."""
    block = random_block(name, version, attention)
    layers, seen = block.nonlinearity, list[Tensor]()
    layers.after.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.randn(2, VARIANTS[name].features, 9, 10, dtype=torch.float64)
    first, second = block.pre_activations(x).chunk(2, 1)
    poked = torch.zeros(9, 10, dtype=torch.bool)
    poked[4, 5] = True
    layers.before.register_forward_hook(lambda module, inputs, output: output + poked)
    block(x)
    assert torch.equal((seen[1] - seen[0]).abs().amax((0, 1)) > 0, poked)
    assert layers.is_product == (first.shape == seen[0].shape and torch.allclose(first * second, seen[0]))


@KIND
def test_the_layer_scale_is_behind_the_second_layer(name: str, version: int, attention: str | None) -> None:
    """So a factor can go from the one to the other. (Photo's attention has the same LayerScale, and is left out.)"""
    block = random_block(name, version, None if name == "photo" else attention)
    layers = block.nonlinearity
    assert isinstance(layers.scale, LayerScale) == (version == 11 or name not in ("realtime", "stream"))
    if not isinstance(layers.scale, LayerScale):
        return
    x = torch.randn(2, VARIANTS[name].features, 9, 10, dtype=torch.float64)
    with torch.no_grad():
        plain = block(x)
        layers.after.weight *= 4
        assert layers.after.bias is not None
        layers.after.bias *= 4
        assert not torch.allclose(block(x), plain)
        layers.scale.gamma /= 4
        torch.testing.assert_close(block(x), plain)


def test_every_package_is_installed() -> None:
    described = configparser.ConfigParser()
    described.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(described["options"]["packages"].split())
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "vs_paragonsr2").rglob("__init__.py")}
    assert listed == found | {"vs_paragonsr2.models"}
