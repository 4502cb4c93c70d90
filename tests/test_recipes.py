"""The recipe: of what the control confuses, a recogniser sees more generated images."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke, Write, edit_facts, smoke_overrides
from torch import Tensor

from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.errors import InputError
from handwriting.images.augment import to_float
from handwriting.networks.encoders import Classifier
from handwriting.rng import Rng
from handwriting.runs.folder import run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights, save_weights
from handwriting.script import compose
from training_character_classification import train
from training_character_classification.selection import ClassBank, class_weights, confusion

CONTROL = "real+fonts+classical"
BY_CONFUSION = "recipe.by_confusion=true"


@pytest.fixture(scope="module")
def trained_control(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A control that is trained until it reads what it has seen: real images, fonts, augmented."""
    overrides = smoke_overrides(
        tmp_path_factory.mktemp("control"), cache_dir, "classifier.use_fonts=true",
        "classifier.num_steps=60",
    )  # fmt: skip
    return train.main(compose(overrides)) / "classifier.safetensors"


@pytest.fixture
def control(trained_control: Path, smoke: ComposeSmoke) -> Path:
    """The control's weights in the test's own study."""
    home = run_folder(smoke()) / "classifier" / CONTROL / "seed_0"
    home.mkdir(parents=True)
    return Path(shutil.copy(trained_control, home))


@pytest.fixture
def arm(smoke: ComposeSmoke, write_images: Write, control: Path) -> ComposeSmoke:
    """The smoke study's arm of real and generated images, beside its control."""
    path = write_images()
    return lambda *more: smoke(f"use_gen={path}", *more)


def state(folder: Path) -> dict[str, Tensor]:
    return load_weights(folder, "classifier").state


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_recipe_means_nothing_to_an_arm_without_generated_images(
    smoke: ComposeSmoke, tmp_path: Path
) -> None:
    plain = state(train.main(smoke(runs_dir=tmp_path / "plain")))
    assert same(state(train.main(smoke(BY_CONFUSION))), plain)


def test_another_recipe_and_another_control_are_another_training(
    arm: ComposeSmoke, control: Path
) -> None:
    plain = state(train.main(arm()))
    weighted = state(train.main(arm(BY_CONFUSION)))
    assert not same(weighted, plain)
    changed = load_weights(control, "classifier")
    changed.state["head.weight"].neg_()
    save_weights(control, "classifier", changed.arguments, changed.facts, changed.state)
    assert not same(state(train.main(arm(BY_CONFUSION))), weighted)


def test_the_control_is_that_of_the_same_seed(arm: ComposeSmoke) -> None:
    for override, home in (
        ("evidence.control=real", "real/seed_0"), ("seed=1", r"real\+fonts\+classical/seed_1"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"no classifier weights at .*/{home}: run .*train.py"):
            train.main(arm(BY_CONFUSION, "data.split_seed=0", override))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"writers_seen": ["simulated_0000", "simulated_0002"]}, "has seen simulated_0002"),
        ({"writers_seen": ["simulated_0000", "simulated_0004"]}, "has seen simulated_0004"),
        ({"arm": "real+own"}, r"arm real\+own, which may have seen generated images"),
        ({"arm": "judge"}, "arm judge, which may"),
        ({"characters": list("アイ")}, r"other characters \(2: アイ\)"),
    ],
)
def test_a_control_that_is_not_independent_is_refused(
    facts: dict[str, object], message: str, arm: ComposeSmoke, control: Path
) -> None:
    corpus = open_corpus(arm())
    assert corpus.validation.present_writers() == ["simulated_0002"]
    assert "simulated_0004" in corpus.test.present_writers()
    edit_facts(control, **facts)
    with pytest.raises(InputError, match=message):
        train.main(arm(BY_CONFUSION))


def test_whom_the_control_saw_is_behind_the_recogniser_too(arm: ComposeSmoke) -> None:
    fonts = set(open_corpus(arm()).fonts.present_writers())
    for overrides, is_weighted in (((), False), ((BY_CONFUSION,), True)):
        seen = load_weights(train.main(arm(*overrides)), "classifier").facts["writers_seen"]
        assert (fonts <= set(seen)) == is_weighted


def test_confused_classes_are_drawn_most() -> None:
    # Of 0 a third is read as 1, of 2 a little as 3; 4 is always read right.
    likelihoods = np.eye(5)
    likelihoods[0, :2] = 2 / 3, 1 / 3
    likelihoods[2, 2:4] = 0.9, 0.1
    weights = class_weights(likelihoods)
    assert weights.sum() == pytest.approx(1)
    expected = 0.1 + 0.5 * np.array([1 / 3, 1 / 3, 0.1, 0.1, 0]) / (2 * (1 / 3 + 0.1))
    np.testing.assert_allclose(weights, expected)
    np.testing.assert_allclose(class_weights(np.eye(5)), 0.2)
    # Whether an error is one way or the other says nothing about which class needs images.
    np.testing.assert_allclose(class_weights(likelihoods.T), weights)


def test_confusion_is_the_mean_of_what_images_of_a_class_are_taken_for(
    corpus: Corpus, control: Path, runtime: Runtime
) -> None:
    weights = load_weights(control, "classifier")
    images = corpus.test.select(corpus.test.labels != 2)
    found = confusion(weights, images, runtime)
    with torch.no_grad():
        network = build(Classifier, weights).eval()
        given = network(to_float(torch.tensor(images.images[:]))).softmax(dim=1)
    for label in range(len(SMOKE)):
        expected = given[torch.tensor(images.labels == label)].mean(dim=0)
        np.testing.assert_allclose(found[label], expected.numpy(), rtol=1e-4)
    assert np.isnan(found[2]).all()


def test_a_class_bank_draws_classes_by_weight_and_their_images_alike(
    corpus: Corpus, rng: Rng
) -> None:
    weights = np.array([4.0, 1, 0, 2, 2, 1])
    packed = corpus.fonts.select(np.arange(1, len(corpus.fonts)))  # one fewer of its class
    classes = ClassBank(packed, torch.device("cpu"), weights)
    drawn = classes.draw(20000, rng)
    found = torch.bincount(classes.labels[drawn], minlength=6) / len(drawn)
    np.testing.assert_allclose(found, weights / weights.sum(), atol=0.02)
    for label in (0, 1):
        counts = torch.bincount(drawn, minlength=len(packed))[classes.labels == label].float()
        assert float(counts.std() / counts.mean()) < 0.1
    assert len(classes.draw(0, rng)) == 0
    without = ClassBank(corpus.fonts.select(corpus.fonts.labels != 3), torch.device("cpu"), weights)
    drawn = torch.bincount(without.labels[without.draw(20000, rng)], minlength=6) / 20000
    np.testing.assert_allclose(drawn, np.array([4.0, 1, 0, 0, 2, 1]) / 8, atol=0.02)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often banks of classes draw each character from now on."""
    counts: Counter[str] = Counter()
    draw = ClassBank.draw

    def noted(self: ClassBank, size: int, generator: torch.Generator) -> Tensor:
        indices = draw(self, size, generator)
        counts.update(SMOKE[label] for label in self.labels[indices].tolist())
        return indices

    monkeypatch.setattr(ClassBank, "draw", noted)
    return counts


def test_kana_are_drawn_as_often_as_the_recipe_says(arm: ComposeSmoke, seen: Counter[str]) -> None:
    many = ("classifier.batch_size=500", "classifier.use_fonts=true", "gen_ratio=0.5")
    train.main(arm("classifier.kana=8", *many))
    num_kana = sum(seen[character] for character in "あシツ")
    assert num_kana / seen.total() == pytest.approx(8 * 3 / (8 * 3 + 3), abs=0.03)
    drawn = seen.total()
    train.main(arm("classifier.kana=1", *many))
    assert seen.total() == drawn  # every image equally often: no bank of classes


def test_generated_images_are_drawn_by_the_confusion_of_the_control(
    arm: ComposeSmoke, control: Path, runtime: Runtime, seen: Counter[str]
) -> None:
    config = arm("recipe.by_confusion=true", "gen_ratio=1", "classifier.batch_size=500")
    corpus = open_corpus(config)
    found = confusion(load_weights(control, "classifier"), corpus.validation, runtime)
    train.main(config)
    shares = np.array([seen[character] for character in SMOKE]) / 5000
    np.testing.assert_allclose(shares, class_weights(found), atol=0.025)
