"""The judge: the domain probe on known distributions, readings of every source of images."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from conftest import SMOKE, ComposeSmoke, smoke_overrides

from handwriting.config import Config, compose
from handwriting.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.evaluate import predict
from handwriting.files import write_json
from handwriting.networks import Classifier
from handwriting.run import load_weights, run_folder
from handwriting.runtime import Runtime
from training_character_classification import judge, train
from training_character_classification.arms import judge_arm
from training_character_classification.judge import domain_auc

Write = Callable[..., Path]


def read(folder: Path) -> dict[str, Any]:
    sources: dict[str, Any] = json.loads((folder / "metrics.json").read_text("utf-8"))["sources"]
    return sources


def test_two_samples_of_one_distribution_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    # Many features: a probe that is tested on what it was trained on finds 0.8.
    found = [domain_auc(*rng.normal(size=(2, 300, 60))) for _ in range(6)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0, 6.0])
def test_the_area_is_the_one_of_two_gaussians(distance: float) -> None:
    """The best linear probe of N(0, I) and N(d, I) has an area of Phi(|d| / sqrt 2)."""
    rng = np.random.default_rng(1)
    real, other = rng.normal(size=(2, 1500, 6))
    other[:, 0] += distance
    assert domain_auc(real, other) == pytest.approx(NormalDist().cdf(distance / 2**0.5), abs=0.03)
    assert domain_auc(other, real) == pytest.approx(domain_auc(real, other), abs=0.02)


def test_the_units_of_the_features_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    real, other = rng.normal(size=(300, 4)), rng.normal(0.4, 1, size=(300, 4))
    units = np.array([1e-4, 1, 1e3, 30])
    assert domain_auc(real * units, other * units) == pytest.approx(domain_auc(real, other))


def test_unequal_samples_are_cut_to_the_smaller() -> None:
    rng = np.random.default_rng(3)
    real, other = rng.normal(size=(900, 4)), rng.normal(1, 1, size=(60, 4))
    assert domain_auc(real, other) == domain_auc(real[:60], other)


def test_too_few_images_to_probe_have_no_area() -> None:
    assert np.isnan(domain_auc(np.zeros((3, 4)), np.ones((100, 4))))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A ``runs_dir`` in which the judge is trained until it reads what it has seen."""
    runs_dir = tmp_path_factory.mktemp("judged")
    train.main(judge_arm(compose(smoke_overrides(runs_dir, cache_dir, "classifier.num_steps=60"))))
    return runs_dir


@pytest.fixture
def study(judged: Path, smoke: ComposeSmoke) -> Callable[..., Config]:
    return lambda *more: smoke(*more, runs_dir=judged)


def test_the_judge_saw_no_training_writer(study: ComposeSmoke) -> None:
    config = study()
    corpus = open_corpus(config)
    weights = load_weights(run_folder(config) / "classifier/judge/seed_0", "classifier", "")
    seen = set(weights.facts["writers_seen"])
    assert not seen & set(corpus.train.present_writers())
    assert seen >= {*corpus.test.present_writers(), *corpus.fonts.present_writers()}


def test_every_source_is_read_as_the_judge_reads_it(
    study: ComposeSmoke, write_images: Write
) -> None:
    path = write_images(characters=tuple(reversed(SMOKE)))
    config = study(f"use_gen={path}", "data.helper_writers=2")
    sources = read(judge.main(config))
    corpus = open_corpus(config)
    weights = load_weights(run_folder(config) / "classifier/judge/seed_0", "classifier", "")
    network = Classifier(**weights.arguments)
    network.load_state_dict(weights.state)
    runtime = Runtime(config.runtime)
    assert corpus.helpers is not None
    for name, images in (
        ("training writers", corpus.train), ("font renders", corpus.fonts),
        ("simulated helpers", corpus.helpers),
    ):  # fmt: skip
        right = (predict(network, images, runtime) == images.labels).mean()
        assert sources[name]["content_accuracy"] == pytest.approx(right)
        assert sources[name]["images"] == len(images)
    assert sources["own"]["images"] == 30
    # Fonts are what it has seen; the manifest is of fonts too, whatever the order of its classes.
    assert sources["font renders"]["content_accuracy"] > 0.9
    assert sources["own"]["content_accuracy"] > 0.6
    assert all(0 <= source["domain_auc"] <= 1 for source in sources.values())


def test_images_of_the_wrong_characters_are_not_readable(
    study: ComposeSmoke, write_images: Write
) -> None:
    path = write_images(name="right")
    listing = json.loads(path.read_text("utf-8"))
    turned = [*list(listing)[1:], next(iter(listing))]
    (path.parent.parent / "wrong").mkdir()
    wrong = path.parent.parent / "wrong" / "manifest.json"
    files = [[f"../right/{file}" for file in images] for images in listing.values()]
    write_json(wrong, dict(zip(turned, files, strict=True)))
    sources = read(judge.main(study(f"use_gen=[{path},{wrong}]")))
    right, other = (sources[name]["content_accuracy"] for name in ("right", "wrong"))
    assert right > 0.6
    assert other <= 1 - right


def test_the_studys_own_generated_images_are_found(
    study: ComposeSmoke, write_images: Write
) -> None:
    config = study("name=finds")
    train.main(judge_arm(config))
    home = run_folder(config) / "generated"
    home.mkdir(parents=True)
    for name in ("adain", "adain_clip"):
        write_images(name=name).parent.rename(home / name)
    assert list(read(judge.main(config))) == [
        "training writers", "font renders", "adain", "adain_clip",
    ]  # fmt: skip


def test_generators_of_the_same_name_are_both_told(
    study: ComposeSmoke, write_images: Write
) -> None:
    paths = [write_images(name=f"{place}/adain", writers=["a"] * n)
             for n, place in ((1, "one"), (1, "two"))]  # fmt: skip
    sources = read(judge.main(study(f"use_gen=[{paths[0]},{paths[1]}]")))
    assert "adain" in sources
    assert str(paths[1].parent) in sources


def test_judging_is_not_repeated_until_the_judge_changes(study: ComposeSmoke) -> None:
    config = study("name=again")
    train.main(judge_arm(config))
    done = judge.main(config) / "done.json"
    before = done.stat().st_mtime_ns
    judge.main(config)
    assert done.stat().st_mtime_ns == before
    train.main(judge_arm(study("name=again", "classifier.num_steps=4")))
    judge.main(config)
    assert done.stat().st_mtime_ns != before


def test_without_a_judge_the_command_that_trains_it_is_told(smoke: ComposeSmoke) -> None:
    command = r"run training_character_classification/train.py classifier.name=judge"
    with pytest.raises(InputError, match=f"no classifier weights at .*/judge.*: {command}"):
        judge.main(smoke())


def test_a_judge_of_other_characters_is_refused(study: ComposeSmoke) -> None:
    with pytest.raises(InputError, match="trained on 6 other characters"):
        judge.main(study("data.characters=あシツ木林明"))


def test_generated_images_that_lack_a_character_are_refused(
    study: ComposeSmoke, write_images: Write
) -> None:
    path = write_images(characters=SMOKE[:-1])
    with pytest.raises(InputError, match=r"休 \(U\+4F11\)"):
        judge.main(study(f"use_gen={path}"))
