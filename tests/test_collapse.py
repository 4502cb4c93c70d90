"""Samples that no longer vary warn: while training, in the log and in the report."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ComposeSmoke
from torch import Tensor

import training_dcgan.train as train_dcgan
import training_style_transfer.train as train_style_transfer
from handwriting.runs.collapse import check_variety, variety
from handwriting.runs.run import Run
from handwriting.storage.json_files import read_json
from training_dcgan.model import DCGAN
from training_style_transfer.feed import Batch


def test_variety_is_the_mean_distance_within_groups() -> None:
    images = torch.zeros(2, 3, 1, 2, 2)
    images[0, 1] = 3.0  # pairs of the first group differ by 3, 0, 3, of the second by nothing
    assert float(variety(images)) == pytest.approx((3 + 0 + 3) / 3 / 2)
    images[1] += 100
    assert float(variety(images)) == pytest.approx(1)
    assert float(variety(images.repeat_interleave(2, dim=0))) == pytest.approx(1)


def test_of_one_image_nothing_is_said(smoke: ComposeSmoke) -> None:
    run = Run(smoke(), "toy", ("seed",), {}).begin()
    real = torch.rand(3, 1, 1, 8, 8)
    for _ in run.steps(1, {}, torch.Generator()):
        check_variety(run, 1, 0 * real, real)
    assert not read_json(run.finish({}) / "metrics.json").get("warnings")


@pytest.mark.parametrize(
    ("scale", "warns"),
    [(0, True), (0.1, True), (0.3, False), (2, False), (torch.nan, True), (torch.inf, True)],
)
def test_images_that_hardly_differ_beside_real_ones_warn(
    scale: float, warns: bool, smoke: ComposeSmoke, rng: torch.Generator
) -> None:
    run = Run(smoke(), "toy", ("seed",), {}).begin()
    real = torch.rand(3, 4, 1, 8, 8, generator=rng)
    for _ in run.steps(1, {}, torch.Generator()):
        check_variety(run, 1, scale * real, real)
        run.log(loss=torch.tensor(1.0))
    metrics = read_json(run.finish(run.last_logged()) / "metrics.json")
    assert len(metrics.get("warnings", [])) == warns
    assert metrics["loss"] == 1


def warned(folder: Path) -> list[int]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "collapsed" in line.get("warning", "")]


@pytest.mark.parametrize("class_conditional", [True, False])
@pytest.mark.parametrize("collapsed", [True, False])
def test_a_dcgan_whose_classes_no_longer_vary_warns(
    class_conditional: bool, collapsed: bool, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(self: DCGAN, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        seen = torch.zeros(len(noise)) if labels is None else labels / 6
        if not collapsed:
            seen = seen + noise[:, 0]
        return seen[:, None, None, None].expand(-1, 1, 16, 16)

    monkeypatch.setattr(DCGAN, "generate", generate)
    folder = train_dcgan.main(smoke(f"dcgan.class_conditional={class_conditional}"))
    assert warned(folder) == ([5, 10] if collapsed else [])
    warnings = read_json(folder / "metrics.json").get("warnings", [])
    assert [text.split(":")[0] for text in warnings] == ["step 5", "step 10"] * collapsed


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_style_transfer_that_no_longer_varies_warns(
    collapsed: bool, smoke: ComposeSmoke, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def samples(generator: object, show: Batch, *_: Any) -> Tensor:
        return 0 * show.target + 0.5 if collapsed else show.content

    monkeypatch.setattr(train_style_transfer, "samples", samples)
    config = smoke(
        "step_type=step1", f"clip_weight={clip_folder}",
        f"image_weight={clip_folder.parent / 'image_encoder'}",
    )  # fmt: skip
    assert warned(train_style_transfer.main(config)) == ([5] if collapsed else [])
