"""On a GPU: the same as on a CPU, and a host that never waits within a training step."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import SMOKE, ComposeSmoke, encoders
from test_stages import STAGES
from torch import Tensor, nn

import pipeline
from handwriting.rng import Rng
from handwriting.runs.folder import run_folder
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.storage.json_files import read_json
from training_cdiffusion_model.model import Denoiser
from training_dcgan import networks as dcgan
from training_style_transfer.model import Discriminator, Generator
from training_vae.model import Vae

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GPU = "runtime.device=cuda"
Compute = Callable[[nn.Module, Tensor, Tensor], Tensor]
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Compute]] = {
    "generator": (
        lambda: Generator("adain_mlp", 6, 0, 16, (1, 2), 1, 2, True, is_inking=True),
        lambda network, images, labels: network(images, network.style(images), labels),
    ),
    "discriminator": (lambda: Discriminator(8, 2), lambda network, images, _: network(images)),
    "denoiser": (
        lambda: Denoiser("character", 6, 0, 16, (1, 2), 1, sees_drawing=False),
        lambda network, images, labels: network(
            images, labels / 6, network.condition(labels, network.style(images), labels == 0)
        ),
    ),
    "vae": (
        lambda: Vae(32, 12, 6, 16, 0.0),
        lambda network, images, labels: network.decode(network.encode(images, labels).mean, labels),
    ),
    "dcgan": (
        lambda: dcgan.Generator(32, 32 * 32, 6, 16),
        lambda network, images, labels: network(images.flatten(1), labels),
    ),
    "dcgan discriminator": (
        lambda: dcgan.Discriminator(32, 6, 16),
        lambda network, images, labels: network(images, labels),
    ),
}


def relative_error(found: list[Tensor], expected: list[Tensor]) -> float:
    wrong, right = (torch.cat([part.double().cpu().flatten() for part in parts])
                    for parts in (found, expected))  # fmt: skip
    return float((wrong - right).norm() / right.norm())


@pytest.mark.parametrize(("precision", "tolerance"), [("no", 1e-3), ("bf16", 0.1)])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_and_its_gradients_are_those_of_a_cpu(
    name: str, precision: str, tolerance: float, smoke: ComposeSmoke,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    build, compute = NETWORKS[name]
    rng = Rng(0)
    images, labels = rng.randn(8, 1, 32, 32), torch.arange(8) % 6
    results = []
    for overrides in (["runtime.precision=no"], [GPU, f"runtime.precision={precision}"]):
        runtime = Runtime(smoke(*overrides).runtime)
        torch.manual_seed(0)
        network = build()
        runtime.to_device(network)
        with runtime.autocast():
            output = compute(network, images.to(runtime.device), labels.to(runtime.device))
        output.float().square().mean().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        results.append(([output.detach()], gradients))
    for expected, found in zip(*results, strict=True):
        assert all(part.is_cuda for part in found)
        assert relative_error(found, expected) < tolerance


@pytest.fixture
def waits() -> Iterator[Callable[[str], None]]:
    """What becomes of an operation for which the host waits: ``error`` or ``default``."""
    yield torch.cuda.set_sync_debug_mode
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("stage", STAGES)
def test_the_host_does_not_wait_within_a_step(
    stage: str, trained: Path, smoke: ComposeSmoke, waits: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    original = Run.steps

    def steps(self: Run, *arguments: object) -> Iterator[int]:
        for step in original(self, *arguments):
            # The first makes the optimizer's state, the fifth a sheet of samples.
            waits("error" if 2 <= step <= 4 else "default")
            yield step
            waits("default")

    monkeypatch.setattr(Run, "steps", steps)
    script, _ = STAGES[stage]
    overrides = [*encoders(trained), GPU, "runtime.precision=bf16", "model_mode=adain_mlp"]
    folder = script.main(smoke(*overrides, "step_type=step1"))
    assert (folder / "metrics.json").is_file()


def test_what_the_device_draws_goes_on_after_a_stop(smoke: ComposeSmoke) -> None:
    def drawn(name: str, stop_at: int) -> Iterator[tuple[int, list[float]]]:
        run = Run(smoke(GPU, f"name={name}", "runtime.checkpoint_every_s=0"), "toy", ("seed",), {})
        rng = Runtime(smoke(GPU).runtime).seed(0)
        run.begin()
        for step in run.steps(6, {}, rng):
            if step == stop_at:
                raise KeyboardInterrupt
            yield step, [float(rng.rand(1)), float(torch.rand((), device=rng.device))]
        run.finish({})

    whole = dict(drawn("whole", 0))
    stopped = {}
    with pytest.raises(KeyboardInterrupt):
        stopped.update(drawn("stopped", 4))
    rest = dict(drawn("stopped", 0))
    assert min(rest) == 4
    assert {step: whole[step] for step in rest} == rest


def test_the_line_runs_to_its_report(smoke: ComposeSmoke) -> None:
    config = smoke(GPU, "runtime.precision=auto", "pipeline.num_workers=2")
    report = pipeline.main(config)
    assert report.is_file()
    metrics = read_json(run_folder(config) / "metrics.json")
    assert metrics["gains_per_character"]["gains"].keys() == set(SMOKE)
