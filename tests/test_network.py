"""The networks against the golden outputs, the parameter table, and what exporters ask of them."""

import itertools
import json

import pytest
import safetensors.torch
import torch
from conftest import golden
from safetensors import safe_open

from vs_paragonsr2 import load_network
from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.network import SCALES, VARIANTS, LegacyParagonSR2, ParagonSR2

# The large ones, photo_* and pro_*, stream_x4, v8_*_x4 and v10_photo_x2, need shared/golden.
GOLDEN = (
    *("realtime_x2", "realtime_x2_alpha0", "realtime_x4", "stream_x2", "stream_x4"),
    *("photo_x2", "photo_x2_exportsafe", "pro_x2", "pro_x2_exportsafe"),
    *("v10_photo_x2", "v10_realtime_x2", "v10_stream_x2"),
    *("v8_realtime_x2", "v8_realtime_x4", "v8_stream_x2", "v8_stream_x4", "v7_realtime_x2", "v7_stream_x2"),
)


def awaken(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every trained parameter a size that shows in the output, since LayerScale starts with very small ones."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * (0.5 if parameter.dim() < 2 else 0.2))
    return network.eval()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_output(name: str) -> None:
    path = golden(name)
    network = load_network(path)
    pair = safetensors.torch.load_file(golden(f"{name}.io"))
    with torch.inference_mode():
        error = (network(pair["input"]) - pair["output"]).abs().max()
    assert error < 1e-5
    network.load_state_dict(safetensors.torch.load_file(path), strict=True)  # the file's names are the network's
    with safe_open(path, "pt") as file:
        said = file.metadata()
    assert (network.variant, network.scale) == (said["variant"], int(said["scale"]))
    alpha = json.loads(said["kwargs"]).get("upsampler_alpha")
    assert alpha is None or network.alpha == alpha


def test_golden_video_recursion() -> None:
    """The published video mode, as a recursion over the features behind conv_in."""
    network = load_network(golden("realtime_x2_video"))
    assert isinstance(network, ParagonSR2)
    pair = safetensors.torch.load_file(golden("realtime_x2_video.io"))
    state = None
    with torch.inference_mode():
        for x, expected in zip(pair["input"].split(1), pair["output"].split(1), strict=True):
            features = network.conv_in(x)
            state = features if state is None else 0.8 * features + 0.2 * state
            assert (network.base(x) + network.detail(state) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("variant", "scale", "parameters"),
    [
        ("realtime", 2, 16_780),
        ("realtime", 4, 44_620),
        ("stream", 2, 110_092),
        ("stream", 4, 221_068),
        ("photo", 2, 745_292),
        ("photo", 4, 1_188_428),
        ("pro", 2, 1_993_420),
        ("pro", 4, 2_436_556),
    ],
)
def test_parameter_count(variant: str, scale: int, parameters: int) -> None:
    assert sum(p.numel() for p in ParagonSR2(variant, scale).parameters()) == parameters


@pytest.mark.parametrize(("variant", "scale"), list(itertools.product(VARIANTS, SCALES)))
def test_every_variant_and_scale_runs(variant: str, scale: int) -> None:
    x = torch.rand(1, 3, 9, 11)
    with torch.inference_mode():
        assert ParagonSR2(variant, scale).eval()(x).shape == (1, 3, 9 * scale, 11 * scale)


@pytest.mark.parametrize(("version", "variant", "scale"), list(itertools.product((7, 8), ("realtime", "stream"), SCALES)))
def test_every_legacy_network_runs(version: int, variant: str, scale: int) -> None:
    x = torch.rand(1, 3, 9, 11)
    with torch.inference_mode():
        network = LegacyParagonSR2(variant, scale, version, content_processor=variant == "stream").eval()
        assert network(x).shape == (1, 3, 9 * scale, 11 * scale)


@pytest.mark.parametrize("variant", ["photo", "pro"])
def test_attention_modes(variant: str) -> None:
    """flex gives sdpa's numbers; None and export_safe leave the modules out."""
    sdpa = awaken(ParagonSR2(variant, attention_mode="sdpa"))
    flex = ParagonSR2(variant, attention_mode="flex").eval()
    flex.load_state_dict(sdpa.state_dict(), strict=True)
    x = torch.rand(1, 3, 20, 28)
    with torch.inference_mode():
        expected = sdpa(x)
        assert (flex(x) - expected).abs().max() < 1e-5 * expected.abs().max()
    off, safe = ParagonSR2(variant, attention_mode=None), ParagonSR2(variant, export_safe=True)
    assert off.state_dict().keys() == safe.state_dict().keys()
    assert not [name for name in off.state_dict() if ".attn" in name or "window_attn" in name or "norm3" in name]


@pytest.mark.parametrize("variant", VARIANTS)
def test_checkpointing_keeps_output_and_gradients(variant: str) -> None:
    plain = awaken(ParagonSR2(variant)).train()
    saving = ParagonSR2(variant, use_checkpointing=True).train()
    saving.load_state_dict(plain.state_dict(), strict=True)
    x = torch.rand(1, 3, 8, 8)
    for network in (plain, saving):
        network(x).square().mean().backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("variant", VARIANTS)
def test_export_at_a_fixed_size(variant: str) -> None:
    network = awaken(ParagonSR2(variant))
    x = torch.rand(1, 3, 20, 28)
    exported = torch.export.export(network, (x,), strict=True).module()
    with torch.inference_mode():
        torch.testing.assert_close(exported(x), network(x))


@pytest.mark.parametrize("variant", ["realtime", "stream"])
def test_export_with_dynamic_height_and_width(variant: str) -> None:
    network = awaken(ParagonSR2(variant))
    dynamic = {2: torch.export.Dim("height", min=2, max=4096), 3: torch.export.Dim("width", min=2, max=4096)}
    exported = torch.export.export(network, (torch.rand(1, 3, 20, 28),), dynamic_shapes=(dynamic,)).module()
    for size in ((2, 2), (17, 40)):
        x = torch.rand(1, 3, *size)
        with torch.inference_mode():
            torch.testing.assert_close(exported(x), network(x))


def networks_with_a_radius() -> list[Network]:
    return [
        *(
            ParagonSR2(v.name, s, upsampler_alpha=a)
            for v in VARIANTS.values()
            for s in SCALES
            for a in (0.0, 0.4)
            if v.window is None
        ),
        *(
            LegacyParagonSR2(v, s, n, content_processor=v == "stream")
            for v in ("realtime", "stream")
            for s in SCALES
            for n in (7, 8)
        ),
    ]


@pytest.mark.parametrize("network", networks_with_a_radius(), ids=lambda n: f"v{n.version}-{n.variant}-{n.scale}x-{n.alpha}")
def test_radius_is_the_receptive_field(network: Network) -> None:
    """Changing one pixel changes outputs up to ``radius`` away, and none beyond."""
    awaken(network).double()
    r, s = network.radius, network.scale
    x = torch.rand(1, 3, 1, 4 * r + 5, dtype=torch.float64)
    middle = 2 * r + 2
    poked = x.clone()
    poked[..., middle] += 1
    with torch.inference_mode():
        changed = (network(poked) - network(x)).abs().amax((0, 1, 2)).reshape(-1, s).amax(1) > 0
    first, last = changed.nonzero().min().item(), changed.nonzero().max().item()
    # The last pixel may be reached on one side alone: at 8x the legacy stages reach one and a half pixels of two, and the
    # outermost tap of many in a row can be lost in rounding.
    assert max(middle - first, last - middle) in (r, r - 1)


@pytest.mark.parametrize(
    ("variant", "attention", "window"), [("photo", True, 16), ("photo", False, None), ("pro", True, 16), ("pro", False, 16)]
)
def test_the_description_knows_what_sees_the_whole_picture(variant: str, attention: bool, window: int | None) -> None:
    """Changing the pixel at one end changes outputs that are further away than the convolutions see, or does not."""
    network = ParagonSR2(variant, export_safe=not attention)
    assert network.window == network.description.window == window
    awaken(network).double()
    x = torch.rand(1, 3, 1, 2 * network.radius, dtype=torch.float64)
    poked = x.clone()
    poked[..., 0] += 1
    with torch.inference_mode():
        changed = (network(poked) - network(x)).abs().amax((0, 1, 2)) > 0
    assert changed[2 * (network.radius + 1) :].any() == network.description.sees_whole_picture == (window is not None)


def test_half_precision_products_do_not_overflow() -> None:
    network = awaken(ParagonSR2("stream"))
    with torch.inference_mode():
        for block in network.blocks():
            block.gate.bias.fill_(3e2)  # the product of two is more than float16 holds
            block.out.weight.mul_(1e-3)
        assert torch.isfinite(network.half()(torch.rand(1, 3, 8, 8).half())).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"variant": "nano"}, "variant"),
        ({"variant": "realtime", "scale": 5}, "scale"),
        ({"variant": "photo", "attention_mode": "xformers"}, "attention_mode"),
        ({"variant": "realtime", "version": 9}, "version"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"{named} is .*expected"):
        ParagonSR2(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("photo", 2, 8), "variant is 'photo': versions 7 and 8 have realtime and stream here"),
        (("nano", 2, 8), "variant is 'nano': versions 7 and 8 have realtime and stream here"),
        (("stream", 5, 8), "scale is 5: expected one of 2, 3, 4, 8"),
        (("stream", 2, 9), "version is 9: expected 7 or 8"),
    ],
)
def test_wrong_arguments_of_older_versions_are_named(arguments: tuple[str, int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LegacyParagonSR2(*arguments)
