"""ONNX of the three graphs, and other ways in which PyTorch runs them."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
import vapoursynth as vs
from conftest import golden
from plain import NETWORKS, make_spec, module_of, parts_of, random_network
from torch import Tensor, nn

from vs_paragonsr2 import ParagonSR2Error, load_network, shipped_models
from vs_paragonsr2.backends.pytorch import onnx as exporter
from vs_paragonsr2.backends.pytorch.modules import ProgramModule, storage_dtype
from vs_paragonsr2.backends.reference.session import padding
from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.cli import main

ODD = ((17, 39), (51, 22))
"""Sizes that the command does not check with; both leave windows of photo and pro half empty."""


def picture(height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def by_onnx_runtime(path: Path, x: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


def graphs_of(network: Network, graph: str) -> exporter.Graphs:
    if graph == "plain":
        return partial(exporter.plain, network)
    return partial(exporter.RGBModule, parts_of(network))


def expected_of(network: Network, graph: str, x: Tensor) -> Tensor:
    """The network's picture; of the folded graph, that of a picture with repeated edges."""
    spec = make_spec(network.scale, (x.shape[2], x.shape[3]), "RGB", bits=32, is_float=True)
    about = padding(network, spec) if graph == "folded" else 0
    return F.pad(network(F.pad(x, [about] * 4, mode="replicate")), [-about * network.scale] * 4)


@pytest.mark.parametrize(
    ("name", "scale", "graph", "dtype"),
    [
        *[(name, 2, "plain", torch.float32) for name in ("realtime", "stream", "photo", "pro")],
        *[(name, 2, "plain", torch.float16) for name in ("stream", "pro")],
        *[(name, 2, "folded", torch.float32) for name in ("stream", "photo")],
        *[(name, 2, "folded", torch.float16) for name in ("realtime", "photo")],
        ("realtime 8", 4, "folded", torch.float32),  # a shuffle in the midst of it
    ],
)
def test_onnx_of_any_size_gives_the_same_picture(name: str, scale: int, graph: str, dtype: torch.dtype, tmp_path: Path) -> None:
    network, path = random_network(name, scale, blocks=2), tmp_path / "a.onnx"
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    assert exporter.export_rgb(graphs_of(network, graph), path, dtype) < tolerance
    for size in ODD:
        x = picture(*size)
        found = by_onnx_runtime(path, x.to(dtype))
        assert found.dtype == dtype
        assert (found.float() - expected_of(network, graph, x)).abs().max() < tolerance


@pytest.mark.parametrize(
    ("name", "scale"), [*((name, 2) for name in NETWORKS), *(("realtime", scale) for scale in (3, 4, 8)), ("realtime 8", 4)]
)
def test_the_folded_graph_for_rgb_is_exact(name: str, scale: int) -> None:
    network = random_network(name, scale, blocks=1).double()
    graph = exporter.RGBModule(parts_of(network), torch.float64)
    for size in ((19, 27), (2, 5)):
        x = picture(*size, torch.float64)
        torch.testing.assert_close(graph(x), expected_of(network, "folded", x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("fmt", "output", "half"),
    [("YUV420P8", "YUV420P8", False), ("YUV422P16", "YUV422P16", True), ("RGBH", "RGBH", False), ("YUV420P8", "YUV444P10", False)],
)
def test_onnx_of_planes(fmt: str, output: str, half: bool, tmp_path: Path) -> None:
    """The command itself compares with PyTorch; here with the frame that it stands for. Folders are made as they are needed."""
    path = tmp_path / "new/a.onnx"
    arguments = ["--graph", "planes", "--size", "34x26", "--format", fmt, "--matrix", "709", "--out", str(path)]
    arguments += ["--output-format", output] if output != fmt else []
    said = command(golden("realtime_x2"), *arguments, *(["--half"] if half else []))
    assert said.returncode == 0, said.stderr
    assert "differs from PyTorch by at most" in said.stdout
    formats = [vs.core.get_video_format(getattr(vs, name)) for name in (fmt, output)]
    kinds = {(vs.INTEGER, 8): "uint8", (vs.FLOAT, 16): "float16", (vs.FLOAT, 32): "float"}
    graph = onnx.load(path).graph
    for values, there, scale in zip((graph.input, graph.output), formats, (1, 2), strict=True):
        assert len(values) == there.num_planes
        for plane, value in enumerate(values):
            tensor = value.type.tensor_type
            kind = kinds.get((there.sample_type, there.bits_per_sample), "int16")
            assert onnx.TensorProto.DataType.Name(tensor.elem_type).lower() == kind
            rows, columns = (26 * scale, 34 * scale)
            if plane and there.color_family == vs.YUV:
                rows, columns = rows >> there.subsampling_h, columns >> there.subsampling_w
            assert [side.dim_value for side in tensor.shape.dim] == [1, 1, rows, columns]


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "vs_paragonsr2.cli", "export", *arguments]
    return subprocess.run([*map(str, line)], capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "33x21"], "source is 33x21: expected multiples of 2x2 for its chroma"),
        (["--size", "large"], "--size is 'large': expected WIDTHxHEIGHT, as 1920x1080"),
        (["--size", "0x8"], "--size is '0x8': expected WIDTHxHEIGHT, as 1920x1080"),
        (["--format", "core"], "--format is 'core': expected VapourSynth's name of a format, as YUV420P8"),
        (["--output-format", "RGB24"], "target is RGB: expected the source's colour family, YUV"),
        (["--format", "GRAY32"], "clip's format is Gray32: expected YUV, RGB or GRAY"),
        (["--matrix", "rec709"], "matrix is 'rec709': expected one of '709'"),
    ],
)
def test_the_command_refuses(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as said:
        main(["export", "realtime", "--graph", "planes", "--out", str(tmp_path / "a"), *arguments])
    assert str(said.value).startswith(f"vs-paragonsr2: {message}")
    assert not (tmp_path / "a").exists()


def test_a_file_with_another_picture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = exporter.write
    monkeypatch.setattr(exporter, "write", lambda graph, *rest: write(nn.Sequential(graph, nn.Hardtanh(0.2, 0.8)), *rest))
    with pytest.raises(ParagonSR2Error, match="differs from PyTorch on a picture by .*: expected at most 0.0001"):
        exporter.export_rgb(graphs_of(random_network("realtime", 2, blocks=1), "plain"), tmp_path / "a.onnx", torch.float32)


def test_noise_is_checked_as_far_as_the_precision_reaches() -> None:
    """(the file's error, PyTorch's own) on two pictures and on noise."""
    fine, out = [(1e-6, 1e-6), (2e-6, 1e-6)], Path("a.onnx")
    for noise in ((1e-5, 0.0), (4.0, 0.6), (float("nan"), float("nan")), (3.0, float("inf"))):
        assert exporter._checked(out, fine, noise, 1e-4) == 2e-6
    for noise in ((1e-3, 1e-5), (6.0, 0.6), (float("nan"), 0.6)):
        with pytest.raises(ParagonSR2Error, match="on noise by"):
            exporter._checked(out, fine, noise, 1e-4)
    with pytest.raises(ParagonSR2Error, match="on a picture by nan"):
        exporter._checked(out, [(float("nan"), 0.0)], (0.0, 0.0), 1e-4)


@pytest.mark.parametrize(("graph", "dtype"), [("plain", torch.float32), ("folded", torch.float16)])
@pytest.mark.parametrize("model", shipped_models().values(), ids=lambda path: path.stem)
def test_shipped_models_are_exported(model: Path, graph: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """Noise drives the features of some past what float16 holds."""
    graphs = graphs_of(load_network(model), graph)
    error = exporter.export_rgb(graphs, tmp_path / "a.onnx", dtype)
    assert error < (1e-5 if dtype == torch.float32 else 5e-3)


VSMLRT = """
import vapoursynth as vs
import numpy as np
source = np.load({samples!r})
blank = vs.core.std.BlankClip(format=vs.RGBS, width=source.shape[2], height=source.shape[1], length=1)
def fill(n, f):
    out = f.copy()
    for plane in range(3):
        np.asarray(out[plane])[...] = source[plane]
    return out
clip = blank.std.ModifyFrame(blank, fill)
large = vs.core.ov.Model([clip], {onnx!r}, device="CPU", config=lambda: dict(INFERENCE_PRECISION_HINT="f32"))
with large.get_frame(0) as frame:
    np.save({result!r}, np.stack([np.asarray(frame[plane]) for plane in range(3)]))
"""


@pytest.mark.parametrize("graph", ["plain", "folded"])
@pytest.mark.parametrize("name", ["realtime", "photo"])
def test_vsmlrt_runs_it(name: str, graph: str, peer_plugin: Path, tmp_path: Path) -> None:
    network = random_network(name, 2, blocks=2)
    exporter.export_rgb(graphs_of(network, graph), tmp_path / "a.onnx", torch.float32)
    x = picture(*ODD[0])
    np.save(tmp_path / "in.npy", x[0].numpy())
    files = {key: str(tmp_path / name) for key, name in (("samples", "in.npy"), ("onnx", "a.onnx"), ("result", "out.npy"))}
    environment = os.environ | {"VAPOURSYNTH_EXTRA_PLUGIN_PATH": str(peer_plugin)}
    subprocess.run([sys.executable, "-c", VSMLRT.format(**files)], env=environment, check=True, capture_output=True)
    found = torch.from_numpy(np.load(tmp_path / "out.npy"))[None]
    torch.testing.assert_close(found, expected_of(network, graph, x), rtol=0, atol=1e-5)


def graph_and_planes(name: str, bits: int) -> tuple[ProgramModule, list[Tensor]]:
    spec = make_spec(2, (22, 30), bits=bits)
    dtype, generator = storage_dtype(spec.source), torch.Generator().manual_seed(0)
    planes = [torch.randint(1 << bits, (1, 1, *shape), generator=generator).to(dtype) for shape in spec.source.shapes]
    return module_of(random_network(name, 2, blocks=2), spec), planes


@pytest.mark.parametrize("model", ["realtime_x2", "stream_x2", "v8_realtime_x2"])
@pytest.mark.filterwarnings("ignore")
def test_tracing_gives_the_same_picture(model: str) -> None:
    network, x = load_network(golden(model)), picture(20, 28)
    with torch.inference_mode():
        torch.testing.assert_close(torch.jit.trace(network, x)(x), network(x))


@pytest.mark.parametrize(("name", "bits"), [("realtime", 8), ("stream", 16), ("photo", 10), ("pro", 8)])
@pytest.mark.filterwarnings("ignore")
def test_tracing_gives_the_same_planes(name: str, bits: int) -> None:
    graph, planes = graph_and_planes(name, bits)
    with torch.inference_mode():
        traced = torch.jit.trace(graph, planes)
        for again in (planes, [plane.flip(2, 3) for plane in planes]):
            torch.testing.assert_close(traced(*again), graph(*again), rtol=0, atol=0)


@pytest.fixture
def inductor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache for PyTorch's compiler."""
    assert shutil.which(os.environ.get("CXX", "g++")), "PyTorch's compiler needs a C++ compiler: install g++, or name one in CXX"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()


@pytest.mark.usefixtures("inductor")
def test_inductor_gives_the_same_picture() -> None:
    network, x = random_network("realtime", 2, blocks=1), picture(20, 28)
    with torch.inference_mode():
        torch.testing.assert_close(torch.compile(network)(x), network(x), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("inductor")
def test_inductor_gives_the_same_planes() -> None:
    graph, planes = graph_and_planes("realtime", 8)
    with torch.inference_mode():
        for found, expected in zip(torch.compile(graph)(*planes), graph(*planes), strict=True):
            error = (found.int() - expected.int()).abs()
            assert error.max() <= 1
            assert error.count_nonzero() <= 0.001 * error.numel()  # sums in another order, a hair from a half
