"""Device and precision."""

import platform
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from handwriting.config import Runtime as RuntimeConfig
from handwriting.errors import InputError
from handwriting.networks.blocks import ModulatedBlock
from handwriting.runs.runtime import Runtime, precision_of
from tests.conftest import ComposeSmoke


@pytest.mark.parametrize(
    ("processor", "expected"),
    [({"avx512_bf16": False}, "no"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")],
)
def test_precision_follows_the_processor(
    processor: dict[str, bool], expected: str, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    assert precision_of(smoke("runtime.precision=auto").runtime) == expected
    for chosen in ("no", "bf16"):
        assert precision_of(smoke(f"runtime.precision={chosen}").runtime) == chosen


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_precision_and_layout_are_what_is_asked_for_and_quick_on_a_cpu(
    precision: str, smoke: ComposeSmoke
) -> None:
    runtime = Runtime(smoke(f"runtime.precision={precision}").runtime)
    normed, bare = nn.Sequential(nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8)), nn.Conv2d(8, 8, 3)
    for network in (normed, bare):
        runtime.to_device(network)
    weights = (normed[0].weight, bare.weight)
    last = [weight.is_contiguous(memory_format=torch.channels_last) for weight in weights]
    assert last == [precision == "no", True]
    with runtime.autocast():
        found = bare(torch.ones(1, 8, 4, 4))
    assert found.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no mallopt")
def test_memory_of_a_tensor_is_used_again_by_the_next() -> None:
    resource = pytest.importorskip("resource")

    def num_faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(2**24)  # 64 MB: 16,384 pages
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    Runtime(RuntimeConfig())
    num_faults()
    assert num_faults() < 16_384


def test_compiling_without_a_compiler_is_refused(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler.*g\+\+.*runtime.compile=false"):
        Runtime(smoke("runtime.compile=true").runtime)
    Runtime(smoke("runtime.compile=false").runtime)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_compiled_network_is_the_same_and_keeps_its_names(
    smoke: ComposeSmoke, rng: torch.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch's own cache takes code for other vector instructions (ATEN_CPU_CAPABILITY) for the same.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    network = ModulatedBlock(8, 8, 4)
    compiled = deepcopy(network)
    Runtime(smoke("runtime.compile=true").runtime).to_device(compiled)
    assert compiled.state_dict().keys() == network.state_dict().keys()
    x, condition = (torch.randn(2, *shape, generator=rng) for shape in ((8, 6, 6), (4,)))
    for one in (network, compiled):
        one(x, condition).square().sum().backward()
    torch.testing.assert_close(compiled(x, condition), network(x, condition), rtol=1e-3, atol=1e-4)
    for mine, plain in zip(compiled.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, plain.grad, rtol=1e-3, atol=1e-3)
    assert compiled._compiled_call_impl is not None
