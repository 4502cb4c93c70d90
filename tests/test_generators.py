"""The table of generators: a row with a stage's two functions is all that a study needs."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ComposeSmoke

import pipeline
from generators import GENERATORS, Generator
from handwriting.config import Condition, Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.corpus.generation import GeneratedBatch, ImageRequest, Prepared, generate
from handwriting.errors import InputError
from handwriting.images.manifest import UNKNOWN_WRITER
from handwriting.runs.folder import run_folder
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import load_weights, save_weights


def train_average(config: Config) -> Path:
    """Learn the mean image of each class."""
    corpus = open_corpus(config)
    run = Run(config, "average", ("size_px",), {"corpus": corpus.key})
    if run.is_done:
        return run.folder
    run.begin()
    images = torch.from_numpy(corpus.train.images[:]).float()
    labels = torch.from_numpy(corpus.train.labels)
    means = torch.stack([images[labels == i].mean(0) for i in range(len(corpus.characters))])
    facts = {"characters": corpus.characters, "drawable": corpus.characters,
             "size_px": config.size_px, "writers_seen": writers_seen(corpus.train)}  # fmt: skip
    path = run.folder / "average.safetensors"
    return run.finish({}, [save_weights(path, "average", {}, facts, {"means": means})])


def generate_average(config: Config) -> Path:
    """Mean images with noise."""
    weights = load_weights(run_folder(config) / "average", "average")

    def prepare(_: Corpus, __: Sequence[str], ___: Runtime) -> Prepared:
        means = weights.state["means"].numpy()

        def make(wanted: list[ImageRequest]) -> GeneratedBatch:
            images = [means[w.label] * w.rng.uniform(0.9, 1, means.shape[1:]) for w in wanted]
            nobody = [UNKNOWN_WRITER] * len(wanted)
            return GeneratedBatch(np.stack(images).astype(np.uint8), nobody)

        return make, ()

    return generate(config, "average", weights, prepare)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "adain",
            ["size_px=30"],
            "size_px=30 is not a multiple of 4, .*patch_px=2 and the 2 levels",
        ),
        ("adain_mlp", ["style_transfer.patch_px=3"], "size_px=16 is not a multiple of 6"),
        (
            "adain_clip",
            ["style_transfer.discriminator_layers=3"],
            "size_px=16 can be halved at most 2 times",
        ),
        ("dcgan", ["size_px=18"], "size_px=18: a DCGAN needs a multiple of 4"),
        ("vae", ["size_px=28"], "size_px=28: a VAE needs a multiple of 8"),
        ("cdiffusion", ["size_px=30"], "size_px=30 is not a multiple of 4"),
    ],
)
def test_a_size_that_a_network_cannot_draw_is_named_before_anything_is_read(
    name: str, overrides: list[str], message: str, smoke: ComposeSmoke
) -> None:
    config = smoke(*overrides, f"pipeline.generators=[{name}]", "data.characters=nowhere.txt")
    with pytest.raises(InputError, match=message):
        pipeline.main(config)


@pytest.mark.parametrize("size_px", [16, 28, 32, 48, 64, 72, 112])
def test_usual_sizes_can_be_drawn_by_who_could_draw_them(size_px: int, smoke: ComposeSmoke) -> None:
    for row in GENERATORS.values():
        if row.name != "vae" or size_px % 8 == 0:
            row.check_size(smoke(f"size_px={size_px}"))


def test_a_new_generator_takes_part_by_its_row(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Generator(
        "average", train_average, generate_average, lambda _: Condition.character, "mean images"
    )
    monkeypatch.setitem(GENERATORS, "average", row)
    config = smoke(
        "pipeline.generators=[average]", "pipeline.augmentations=[true]", "pipeline.num_workers=1"
    )
    report = pipeline.main(config)
    metrics = json.loads((report.parent / "metrics.json").read_text(encoding="utf-8"))
    assert "real+average+classical" in metrics["arms"]
    assert metrics["sources"]["average"]["images"] > 0
