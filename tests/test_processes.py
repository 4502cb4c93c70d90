"""Two processes: the result of one, gradients and norms of the whole batch, stopping together."""

import importlib
import json
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, smoke_overrides
from PIL import Image
from torch import Tensor, nn

from handwriting.config import Config
from handwriting.errors import InputError
from handwriting.images.packed import PackedImages, cached
from handwriting.networks.whole_batch import gather, sync_layers
from handwriting.parallel import ranks
from handwriting.parallel.ranks import all_gather_object, all_reduce_mean_, main_only
from handwriting.rng import Rng
from handwriting.runs import run as run_module
from handwriting.runs.folder import run_folder
from handwriting.script import compose

pytestmark = pytest.mark.slow

NORMS: list[Callable[[], nn.Module]] = [
    lambda: nn.BatchNorm2d(3),
    lambda: nn.BatchNorm2d(3, affine=False),
    lambda: importlib.import_module("timm.layers").BatchNormAct2d(3),
]
STEPS = "{one}/style_transfer/adain_clip"
ENCODERS = "image_weight={one}/image_encoder text_weight={one}/text_encoder clip_weight={one}/clip"
# A run folder, its script, and overrides: what it starts from is in the folder of one process.
TRAINED = {
    "image_encoder": ("training_clip.train_image_encoder", ""),
    "text_encoder": ("training_clip.train_text_encoder", ""),
    "clip": ("training_clip.train_clip", ENCODERS),
    "style_transfer/adain_clip/step1": (
        "training_style_transfer.train", f"step_type=step1 {ENCODERS}",
    ),
    "style_transfer/adain_clip/step_end": (
        "training_style_transfer.train",
        f"step_type=step_end gen_weight={STEPS}/step1 disc_weight={STEPS}/step1 {ENCODERS}",
    ),
    "dcgan": ("training_dcgan.train", ""),
    "vae": ("training_vae.train", ""),
    "cdiffusion": ("training_cdiffusion_model.train", ""),
    "stroke_reader": ("training_stroke_reader.train", ""),
    "stroke_judge": ("training_stroke_reader.train_judge", ""),
}  # fmt: skip
GENERATED = {
    f"generated/{name}": (f"training_{folder}.generate_images", f"gen_weight={{one}}/{weights}")
    for name, folder, weights in (
        ("adain_clip", "style_transfer", "style_transfer/adain_clip/step_end"),
        ("dcgan", "dcgan", "dcgan"),
        ("vae", "vae", "vae"),
        ("cdiffusion", "cdiffusion_model", "cdiffusion"),
    )
}
RECOGNISED = {
    # Of 16 rows of a batch the last 2 are generated: the first process has none of them.
    "classifier/few_generated/seed_0": (
        "training_character_classification.train",
        "use_gen={one}/generated/vae/manifest.json gen_ratio=0.125 classifier.name=few_generated",
    ),
    "classifier/real+fonts+classical/seed_0": (
        "training_character_classification.train", "classifier.use_fonts=true",
    ),
}  # fmt: skip
STAGES = {**TRAINED, **GENERATED, **RECOGNISED}


# What the processes do ----------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def begin(work: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """Two processes, as torchrun starts them, that each do some work."""
    folder.mkdir()
    port = free_port()
    fork = multiprocessing.get_context("fork")  # others would import all for half a minute
    begun = [
        fork.Process(target=join_and, args=(work, rank, port, folder, arguments))
        for rank in range(2)
    ]
    for process in begun:
        process.start()
    return begun


def join_and(
    work: Callable[..., Any], rank: int, port: int, folder: Path, arguments: tuple[Any, ...]
) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    ranks.join("cpu")
    found = work(*arguments)
    (folder / f"found_{rank}").write_bytes(pickle.dumps(found))


def two(work: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """What each of two processes finds."""
    for process in begin(work, folder, *arguments):
        process.join(timeout=300)
        assert process.exitcode == 0
    return [pickle.loads((folder / f"found_{rank}").read_bytes()) for rank in range(2)]


def config_of(stage: str, runs_dir: Path, one: Path, cache_dir: Path) -> Config:
    """The smoke study of a stage whose inputs are those of one process."""
    overrides = STAGES[stage][1].format(one=one / "smoke").split()
    return compose([*smoke_overrides(runs_dir, cache_dir), *overrides])


def run_stages(runs_dir: Path, one: Path, cache_dir: Path) -> None:
    for stage, (name, _) in STAGES.items():
        script = importlib.import_module(name)
        folder = script.main(config_of(stage, runs_dir, one, cache_dir))
        assert folder == runs_dir / "smoke" / stage
        assert script.main(config_of(stage, runs_dir, one, cache_dir)) == folder  # it is done


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """The study's folder after one process ran all stages."""
    runs_dir = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "LOG_EVERY", 1)
        run_stages(runs_dir, runs_dir, cache_dir)
    return runs_dir / "smoke"


@pytest.fixture(scope="module")
def found(
    one: Path, tmp_path_factory: pytest.TempPathFactory, cache_dir: Path
) -> list[dict[str, Any]]:
    """What each of two processes found, which ran all stages in another folder."""
    folder = tmp_path_factory.mktemp("two")
    return two(everything, folder / "work", folder / "two", one.parent, cache_dir)


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# The tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [*TRAINED, *RECOGNISED])
def test_two_processes_have_the_losses_of_one(
    stage: str, one: Path, found: list[dict[str, Any]]
) -> None:
    expected, losses = logged(one / stage), logged(found[0]["folder"] / stage)
    # Rounding grows: weights of a GAN that differ by 1e-7 give losses 5 % apart two steps later.
    # The first step, with its gradient, tells whether two processes do what one does.
    is_gan = stage.startswith(("style_transfer", "dcgan"))
    for step, tolerance in enumerate((1e-3, 1e-2, 1e-1) if is_gan else (1e-4, 2e-4, 1e-3)):
        absolute = tolerance / (5 if is_gan else 10)
        assert losses[step] == pytest.approx(expected[step], rel=tolerance, abs=absolute)


@pytest.mark.parametrize("stage", GENERATED)
def test_two_processes_make_the_images_of_one_and_one_manifest(
    stage: str, one: Path, found: list[dict[str, Any]]
) -> None:
    one, other = one / stage, found[0]["folder"] / stage
    for name in ("manifest.json", "writers.json", "facts.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    paths = sorted(path.relative_to(one) for path in one.rglob("*.png"))
    assert paths == sorted(path.relative_to(other) for path in other.rglob("*.png"))
    assert len(paths) == 6 * 4 + 1
    for path in paths:
        first, second = (np.asarray(Image.open(folder / path)) for folder in (one, other))
        np.testing.assert_array_equal(first, second)


def own_rows(batch: Tensor) -> Tensor:
    return batch.chunk(ranks.world_size())[ranks.rank()].clone()


def whole_batch(norm: int) -> dict[str, Tensor]:
    """What a batch norm gives for a batch of which each process has its rows."""
    torch.manual_seed(0)
    layer = NORMS[norm]()
    x, weights = torch.randn(8, 3, 4, 4) * 2 + 1, torch.randn(8, 3, 4, 4)
    own = own_rows(x).requires_grad_()
    layer = sync_layers(layer)
    y = layer(own)
    (y * own_rows(weights)).sum().backward()
    gradients = {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}
    if ranks.world_size() == 2:
        all_reduce_mean_(list(gradients.values()))
        gradients = {name: 2 * gradient for name, gradient in gradients.items()}  # of a sum
    assert own.grad is not None
    every = {"y": y.detach(), "x": own.grad}
    parts = all_gather_object(lambda: every)
    joined = {name: torch.cat([part[name] for part in parts]) for name in every}
    return {**joined, **gradients, **dict(layer.named_buffers())}


def norms_and_dropout() -> list[Any]:
    found: list[Any] = [whole_batch(norm) for norm in range(len(NORMS))]
    torch.manual_seed(0)
    dropout = sync_layers(nn.Dropout(0.3))
    found.append({"dropout": gather(dropout(torch.ones(8 // ranks.world_size(), 50)))})
    return found


def one_for_all() -> list[Any]:
    """What becomes of work and errors of one process; who did the work."""
    found: list[Any] = [main_only(lambda: (ranks.rank(), ranks.world_size()))()]

    def failing(rank: int) -> int:
        if ranks.rank() == rank:
            raise InputError(f"process {rank} fails")
        return ranks.rank()

    for work in (
        lambda: main_only(failing)(0),
        lambda: all_gather_object(lambda: failing(1)),
        lambda: all_gather_object(lambda: failing(2)),
    ):
        try:
            found.append(work())
        except InputError as error:
            found.append(str(error))
    return [*found, ranks.all_reduce_max(ranks.rank(), 5 - ranks.rank())]


def make_slowly(folder: Path) -> int:
    made = []

    def make() -> PackedImages:
        made.append(1)
        time.sleep(1)
        zero = np.zeros(1, np.int64)
        return PackedImages(np.zeros((1, 4, 4), np.uint8), zero, zero, ("ア",), ("a",))

    assert len(cached(folder, make)) == 1
    return len(made)


def everything(runs_dir: Path, one: Path, cache_dir: Path) -> dict[str, Any]:
    """All that two processes do in these tests."""
    run_module.LOG_EVERY = 1
    made = make_slowly(runs_dir / "set")
    run_stages(runs_dir, one, cache_dir)
    folder = runs_dir / "smoke"
    return {"folder": folder, "norms": norms_and_dropout(), "one": one_for_all(), "made": made}


def test_norms_and_dropout_see_the_whole_batch(found: list[dict[str, Any]]) -> None:
    expected = norms_and_dropout()
    for both in found:
        for one, other in zip(expected, both["norms"], strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5, msg=name)


DRAWS: list[Callable[[Rng, int], Tensor]] = [
    lambda rng, size: rng.rand(size, 2),
    lambda rng, size: rng.uniform(3, 5, size),
    lambda rng, size: rng.randn(size, 4),
    lambda rng, size: rng.randint(7, size, 2),
    lambda rng, size: rng.choice(torch.tensor([1.0, 2.0, 3.0]), size),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_each_process_draws_its_rows_of_what_one_would_draw(
    draw: Callable[[Rng, int], Tensor],
) -> None:
    one, both = Rng(0), [Rng(0, "cpu", rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat([draw(rng, 3) for rng in both]), draw(one, 6))
    # What torch itself draws from it is the same for all.
    expected = torch.rand(1, generator=one)
    assert [torch.rand(1, generator=rng) for rng in both] == [expected, expected]


def test_a_batch_in_parts_is_cut_where_a_whole_one_is() -> None:
    parts = torch.arange(3), torch.arange(3, 4), torch.arange(4, 8)
    found = [[p.tolist() for p in Rng(0, "cpu", rank, 2).shard(*parts)] for rank in range(2)]
    assert found == [[[0, 1, 2], [3], []], [[], [], [4, 5, 6, 7]]]
    with pytest.raises(InputError, match="a batch of 7 cannot be divided .* among 2 processes"):
        Rng(0, "cpu", 0, 2).num_rows(7)


def test_what_one_does_or_raises_all_get(found: list[dict[str, Any]]) -> None:
    expected = [(0, 1), "process 0 fails", "process 1 fails", [0, 1], [1, 5]]
    assert [both["one"] for both in found] == [expected, expected]


def wait_for_the_other() -> None:
    if ranks.rank() == 1:
        os._exit(7)
    try:
        ranks.all_reduce_max(1)
    except RuntimeError as error:
        assert not ranks.is_loss(RuntimeError("out of memory"))
        os._exit(5 if ranks.is_loss(error) else 1)


def test_a_process_that_died_does_not_keep_the_others(tmp_path: Path) -> None:
    first, second = begin(wait_for_the_other, tmp_path / "work")
    for process, exit_code in ((second, 7), (first, 5)):
        process.join(timeout=300)
        assert process.exitcode == exit_code


def pid_of(torchrun: "subprocess.Popen[str]", rank: int) -> int:
    """The process of a rank that torchrun started."""
    children = Path(f"/proc/{torchrun.pid}/task").glob("*/children")
    pids = [int(pid) for listing in children for pid in listing.read_text().split()]
    found = [p for p in pids if f"\0RANK={rank}\0" in Path(f"/proc/{p}/environ").read_text()]
    return found[0]


def test_a_signal_to_one_process_stops_both_and_one_goes_on_alone(
    cache_dir: Path, tmp_path: Path
) -> None:
    """Through torchrun, as a user would."""
    overrides = smoke_overrides(tmp_path / "runs", cache_dir, "image_encoder.num_steps=400")
    command = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]
    script = "training_clip/train_image_encoder.py"
    torchrun = subprocess.Popen(
        [sys.executable, *command, str(free_port()), script, *overrides],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    config = compose(overrides)
    folder = run_folder(config) / "image_encoder"
    while not (folder / "metrics.jsonl").is_file():
        assert torchrun.poll() is None
        time.sleep(0.02)
    os.kill(pid_of(torchrun, rank=1), signal.SIGTERM)
    output, _ = torchrun.communicate(timeout=300)
    assert torchrun.returncode != 0
    assert output.count("stopped after step") == 1
    step = torch.load(folder / "checkpoint.pt", weights_only=True)["step"]
    assert 50 <= step < 400

    stage = importlib.import_module("training_clip.train_image_encoder")
    stage.main(config)
    lines = logged(folder)
    assert [line["step"] for line in lines] == [*range(50, 401, 50)]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_a_cache_is_made_by_one_process_while_the_other_waits(found: list[dict[str, Any]]) -> None:
    assert sum(both["made"] for both in found) == 1
