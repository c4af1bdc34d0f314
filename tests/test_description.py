"""Which network a checkpoint is of, by the names and shapes of its tensors."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import golden
from safetensors.torch import save_file

from vs_paragonsr2 import load_network
from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.network import SCALES, VARIANTS, LegacyParagonSR2, ParagonSR2, describe


def shapes_of(network: Network) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "variant", "scale", "version"),
    [
        ("realtime_x2", "realtime", 2, 11),
        ("realtime_x4", "realtime", 4, 11),
        ("stream_x2", "stream", 2, 11),
        ("v10_realtime_x2", "realtime", 2, 10),
        ("v10_stream_x2", "stream", 2, 10),
        ("v8_realtime_x2", "realtime", 2, 8),
        ("v8_stream_x2", "stream", 2, 8),
        ("v7_realtime_x2", "realtime", 2, 7),
        ("v7_stream_x2", "stream", 2, 7),
    ],
)
def test_detects_what_a_golden_file_is(name: str, variant: str, scale: int, version: int) -> None:
    network = load_network(str(golden(name)))
    assert (network.variant, network.scale, network.version) == (variant, scale, version)
    assert not network.training
    assert isinstance(network.version, int)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_detects_every_variant_and_scale(tmp_path: Path, variant: str, scale: int) -> None:
    save_file(ParagonSR2(variant, scale).state_dict(), tmp_path / "a.safetensors")
    network = load_network(tmp_path / "a.safetensors")
    assert (network.variant, network.scale, network.version) == (variant, scale, 11)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("version", [7, 8])
@pytest.mark.parametrize("variant", ["realtime", "stream"])
def test_detects_every_legacy_scale(tmp_path: Path, variant: str, version: int, scale: int) -> None:
    source = LegacyParagonSR2(variant, scale, version, content_processor=variant == "stream")
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    network = load_network(tmp_path / "a.safetensors")
    assert (network.variant, network.scale, network.version) == (variant, scale, version)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_and_network_have_one_description(variant: str, attention: bool, scale: int) -> None:
    """It is known without PyTorch. Versions 10 and 11 differ for Realtime and Stream only."""
    for version in (10, 11):
        network = ParagonSR2(variant, scale, export_safe=not attention, version=version)
        description = describe(shapes_of(network), "file")
        assert description.shapes() == shapes_of(network)
        assert replace(description, version=version) == network.description
        assert description.version == (version if variant in ("realtime", "stream") else 11)
        assert (description.variant, description.scale, description.window) == (variant, scale, network.window)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("version", [7, 8])
@pytest.mark.parametrize("variant", ["realtime", "stream"])
def test_tensors_and_network_of_older_versions_have_one_description(variant: str, version: int, scale: int) -> None:
    for analyzer in (False, True):
        network = LegacyParagonSR2(variant, scale, version, content_processor=analyzer)
        description = describe(shapes_of(network), "file")
        assert description.shapes() == shapes_of(network)
        assert description == network.description
        assert (description.variant, description.version, description.scale) == (variant, version, scale)
        assert description.window is network.window is None
        assert not description.sees_whole_picture
