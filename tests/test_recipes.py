"""Recipes: which generated images a recogniser sees, when, through which norms, of which class."""

import os
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SMOKE, ComposeSmoke, Interrupt, smoke_overrides
from hypothesis import given, strategies as st
from torch import Tensor, nn

from handwriting.config import Config, ScoredBy
from handwriting.corpus import bank
from handwriting.corpus.bank import ImageBank
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.errors import InputError
from handwriting.images.augment import Classical, to_float
from handwriting.images.packed import PackedImages, pack_manifest
from handwriting.networks.encoders import Classifier, SeparateNorm, build_encoder
from handwriting.networks.optimizer import one_cycle
from handwriting.runs.run import run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.script import compose
from handwriting.runs.weights import Weights, load_weights, save_weights
from training_character_classification import train
from training_character_classification.arms import (
    batch_shares,
    phases,
    read_generated,
    training_sources,
)
from training_character_classification.selection import (
    ClassBank,
    class_weights,
    clip_scores,
    confusion,
    keep_images,
    kept,
    read_scorers,
    recogniser_scores,
)
from training_clip.retrieval import load_clip

Write = Callable[..., Path]
RECIPES = {
    "top": ["recipe.keep=top"],
    "random": ["recipe.keep=random"],
    "generated_first": ["recipe.generated_first=0.6"],
    "separate_norm": ["recipe.separate_norm=true"],
    "by_confusion": ["recipe.by_confusion=true"],
    "all": [
        "recipe.keep=band", "recipe.generated_first=0.6", "recipe.separate_norm=true",
        "recipe.by_confusion=true",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A control that is trained until it reads what it has seen: real images, fonts, augmented."""
    overrides = smoke_overrides(
        tmp_path_factory.mktemp("control"), cache_dir, "classifier.use_fonts=true",
        "classifier.num_steps=60",
    )  # fmt: skip
    return train.main(compose(overrides)) / "classifier.pt"


@pytest.fixture
def arm(smoke: ComposeSmoke, write_images: Write, control: Path) -> ComposeSmoke:
    """The smoke study's arm of real and generated images, scored by the control."""
    path = write_images()

    def composed(*more: str, runs_dir: Path | None = None) -> Config:
        overrides = [f"use_gen={path}", f"recipe.scorer={control}", *more]
        return smoke(*overrides, runs_dir=runs_dir) if runs_dir else smoke(*overrides)

    return composed


def state(folder: Path) -> dict[str, Tensor]:
    return load_weights(folder, "classifier", "").state


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def generated(config: Config) -> PackedImages:
    corpus = open_corpus(config)
    (manifest,) = read_generated(config, corpus)
    return pack_manifest(manifest, config.size_px, Path(config.cache_dir)).of(corpus.characters)


def recogniser(weights: Weights) -> Classifier:
    network = Classifier(**weights.arguments)
    network.load_state_dict(weights.state)
    return network.eval()


# Nothing changes by default -----------------------------------------------------------------------


def trained_plainly(config: Config) -> dict[str, Tensor]:
    """The weights of an arm by the plain loop, which knows no recipe."""
    corpus, settings = open_corpus(config), config.classifier
    rng = Runtime(config.runtime).seed(config.seed)
    sources = training_sources(config, corpus, read_generated(config, corpus))
    banks = [ImageBank(source, torch.device("cpu")) for source in sources]
    shares = batch_shares(settings.batch_size, config.gen_ratio, True, len(banks))
    network = Classifier("small_resnet", settings.width, config.size_px, len(SMOKE))
    Runtime(config.runtime).to_device(network)
    optimizer, schedule = one_cycle(network, settings, settings.weight_decay)
    for _ in range(settings.num_steps):
        drawn = [b.draw(share, rng) for b, share in zip(banks, shares, strict=True)]
        images = torch.cat([b.take(i) for b, i in zip(banks, drawn, strict=True)])
        labels = torch.cat([b.labels[i] for b, i in zip(banks, drawn, strict=True)])
        logits = network(Classical()(images, rng))
        optimizer.zero_grad()
        F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing).backward()
        optimizer.step()
        schedule.step()
    return network.state_dict()


def test_the_default_recipe_is_plain_training(arm: ComposeSmoke) -> None:
    config = arm("classifier.use_fonts=true")
    assert same(state(train.main(config)), trained_plainly(config))


def test_scoring_images_changes_nothing_but_which_are_seen(
    arm: ComposeSmoke, tmp_path: Path
) -> None:
    plain = state(train.main(arm()))
    whole = state(train.main(arm("recipe.keep=top", "recipe.keep_share=1")))
    assert same(whole, plain)
    assert not same(state(train.main(arm("recipe.keep=top", "recipe.keep_share=0.4"))), plain)


def test_a_recipe_means_nothing_to_an_arm_without_generated_images(
    smoke: ComposeSmoke, tmp_path: Path
) -> None:
    plain = state(train.main(smoke(runs_dir=tmp_path / "plain")))
    assert same(state(train.main(smoke(*RECIPES["all"]))), plain)


@pytest.mark.parametrize("name", RECIPES)
def test_another_recipe_is_another_training(name: str, arm: ComposeSmoke) -> None:
    plain = state(train.main(arm()))
    assert not same(state(train.main(arm(*RECIPES[name]))), plain)


def test_another_scorer_is_another_training(
    arm: ComposeSmoke, control: Path, tmp_path: Path
) -> None:
    scorer = tmp_path / "scorer.pt"
    scorer.write_bytes(control.read_bytes())
    config = arm("recipe.keep=top", f"recipe.scorer={scorer}")
    weights = train.main(config) / "classifier.pt"
    before = weights.stat().st_mtime_ns
    os.utime(scorer)
    train.main(config)
    assert weights.stat().st_mtime_ns == before
    changed = load_weights(control, "classifier", "")
    changed.state["head.weight"].neg_()
    save_weights(scorer, "classifier", changed.arguments, changed.facts, changed.state)
    train.main(config)
    assert weights.stat().st_mtime_ns != before


@pytest.mark.parametrize("name", RECIPES)
def test_a_stopped_training_resumes_to_the_same_weights(
    name: str, arm: ComposeSmoke, tmp_path: Path, interrupt: Interrupt
) -> None:
    whole = train.main(arm(*RECIPES[name], runs_dir=tmp_path / "whole"))
    config = arm(*RECIPES[name], "runtime.checkpoint_every_s=-1")
    for stop in (4, 5):  # in step 4, then in step 8: before and after the first phase's end
        calls = interrupt("log", stop)
        with pytest.raises(KeyboardInterrupt):
            train.main(config)
    resumed = train.main(config)
    assert len(calls) == 5 + 3
    assert (resumed / "classifier.pt").read_bytes() == (whole / "classifier.pt").read_bytes()


# Which images -------------------------------------------------------------------------------------

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array)
SHARES = st.floats(0.01, 1)


@given(LABELS, SHARES, st.integers(0, 99))
def test_every_way_of_keeping_leaves_as_many_of_each_class_and_at_least_one(
    labels: np.ndarray, share: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).random(len(labels)).round(1)  # with ties
    counts = Counter(labels.tolist())
    for is_band in (False, True):
        chosen = kept(scores, labels, share, is_band)
        found = Counter(labels[chosen].tolist())
        assert found == {label: max(1, round(share * n)) for label, n in counts.items()}
        assert (np.diff(chosen) > 0).all()


@given(LABELS, SHARES, st.integers(0, 99))
def test_the_best_are_on_top_and_the_band_is_in_the_middle(
    labels: np.ndarray, share: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).random(len(labels))
    top, band = (np.isin(np.arange(len(labels)), kept(scores, labels, share, b)) for b in (0, 1))
    for label in np.unique(labels):
        own = labels == label
        assert scores[own & top].min() >= scores[own & ~top].max(initial=0)
        worse = scores[own & ~band] < scores[own & band].min()
        better = scores[own & ~band] > scores[own & band].max()
        assert (worse | better).all()
        assert int(worse.sum() - better.sum()) in (0, 1)


@pytest.mark.parametrize("share", [0, -0.5, 1.01, float("nan")])
def test_a_share_that_keeps_nothing_or_more_than_all_is_named(share: float) -> None:
    with pytest.raises(InputError, match="recipe.keep_share"):
        kept(np.ones(3), np.zeros(3, int), share, is_band=False)


def test_which_images_are_random_is_decided_by_the_seed_alone(
    arm: ComposeSmoke, runtime: Runtime
) -> None:
    def chosen(*overrides: str) -> list[bytes]:
        config = arm("recipe.keep=random", "recipe.keep_share=0.4", *overrides)
        images = keep_images(config, open_corpus(config), generated(config), {}, runtime)
        assert Counter(images.labels.tolist()) == dict.fromkeys(range(len(SMOKE)), 2)
        return [image.tobytes() for image in images.images]

    first = chosen()
    assert chosen("recipe.scored_by=clip", "recipe.scorer=null") == first
    assert chosen("seed=1", "data.split_seed=0") != first


def test_a_recogniser_scores_by_the_likelihood_of_the_intended_character(
    arm: ComposeSmoke, control: Path, runtime: Runtime
) -> None:
    images = generated(arm())
    images = images.select(np.random.default_rng(0).permutation(len(images)))
    weights = load_weights(control, "classifier", "")
    with torch.no_grad():
        logits = recogniser(weights)(to_float(torch.tensor(images.images[:])))
    expected = logits.softmax(dim=1)[torch.arange(len(images)), torch.tensor(images.labels)]
    scores = recogniser_scores(weights, images, runtime)
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-4)
    misread = replace(images, labels=(images.labels + 1) % len(SMOKE))
    assert recogniser_scores(weights, misread, runtime).mean() < scores.mean() / 2


def test_clip_scores_by_the_cosine_of_image_and_text(
    arm: ComposeSmoke, clip_folder: Path, runtime: Runtime
) -> None:
    config = arm()
    corpus, images = open_corpus(config), generated(config)
    weights = load_weights(clip_folder, "clip", "")
    scores = clip_scores(weights, images, config, corpus, runtime)
    network, texts = load_clip(weights, config, corpus)
    network.eval()
    for i in (0, 7, 29):
        label = images.labels[i]
        with torch.no_grad():
            image = network.encode_image(to_float(torch.tensor(images.images[i : i + 1])))
            text = network.encode_text(texts.tokens[label, : texts.counts[label]]).mean(dim=0)
        assert scores[i] == pytest.approx(float(F.cosine_similarity(image, text[None])), abs=1e-5)


@pytest.mark.parametrize("scored_by", list(ScoredBy))
@pytest.mark.parametrize("keep", ["top", "band"])
def test_a_recogniser_sees_what_is_kept(
    keep: str, scored_by: ScoredBy, arm: ComposeSmoke, control: Path, clip_folder: Path,
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scorer = control if scored_by == "recogniser" else clip_folder
    config = arm(
        f"recipe.keep={keep}", f"recipe.scored_by={scored_by}", f"recipe.scorer={scorer}",
        "recipe.keep_share=0.4",
    )  # fmt: skip
    corpus, images = open_corpus(config), generated(config)
    weights = read_scorers(config, corpus)[scored_by]
    if scored_by == "recogniser":
        scores = recogniser_scores(weights, images, runtime)
    else:
        scores = clip_scores(weights, images, config, corpus, runtime)
    expected = images.select(kept(scores, images.labels, 0.4, is_band=keep == "band"))
    seen: set[bytes] = set()
    take = bank.ImageBank.take

    def noted(self: bank.ImageBank, indices: Tensor) -> Tensor:
        found = take(self, indices)
        if "writer_01" in self.writer_names:
            seen.update(image.numpy().tobytes() for image in found)
        return found

    monkeypatch.setattr(bank.ImageBank, "take", noted)
    train.main(config)
    assert len(expected) == 2 * len(SMOKE)
    assert seen == {image.tobytes() for image in expected.images}


# Independent scorers ------------------------------------------------------------------------------


def test_the_scorer_is_by_default_the_control_of_the_same_seed_or_the_studys_clip(
    arm: ComposeSmoke, control: Path, clip_folder: Path, trained: Path
) -> None:
    def found(*overrides: str, runs_dir: Path | None = None) -> dict[ScoredBy, Path]:
        config = arm("recipe.keep=top", "recipe.scorer=null", *overrides, runs_dir=runs_dir)
        scorers = read_scorers(config, open_corpus(config))
        return {how: weights.path for how, weights in scorers.items()}

    home = control.parents[4]
    assert found(runs_dir=home) == {ScoredBy.recogniser: control}
    with pytest.raises(InputError, match="no classifier weights at .*/real/seed_0"):
        found("evidence.control=real", runs_dir=home)
    with pytest.raises(InputError, match=r"real\+fonts\+classical/seed_1: run .*train.py"):
        found("seed=1", "data.split_seed=0", runs_dir=home)
    assert found("recipe.scored_by=clip", runs_dir=trained) == {
        ScoredBy.clip: clip_folder / "clip.pt"
    }
    assert found(f"clip_weight={clip_folder}", "recipe.scored_by=clip") == {
        ScoredBy.clip: clip_folder / "clip.pt"
    }


def test_only_what_a_recipe_needs_is_read(
    arm: ComposeSmoke, control: Path, clip_folder: Path
) -> None:
    def needed(*overrides: str) -> list[str]:
        config = arm("recipe.scorer=null", *overrides, runs_dir=control.parents[4])
        return [how.value for how in read_scorers(config, open_corpus(config))]

    assert needed() == needed("recipe.keep=random") == []
    assert needed("recipe.keep=band") == needed("recipe.by_confusion=true") == ["recogniser"]
    by_clip = ("recipe.keep=top", "recipe.scored_by=clip", f"recipe.scorer={clip_folder}")
    assert needed(*by_clip) == ["clip"]
    # CLIP scores the images; the confused characters are still the recogniser's.
    assert needed(*by_clip, "recipe.by_confusion=true") == ["clip", "recogniser"]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"writers_seen": ["simulated_0000", "simulated_0002"]}, "simulated_0002, who validates"),
        ({"writers_seen": ["simulated_0000", "simulated_0004"]}, "simulated_0004, who validates"),
        ({"arm": "real+own"}, r"arm real\+own, which may have seen generated images"),
        ({"arm": "judge"}, "arm judge, which may"),
        ({"characters": list("アイ")}, "trained on 2 other characters"),
    ],
)
@pytest.mark.parametrize("recipe", ["recipe.keep=top", "recipe.by_confusion=true"])
def test_a_scorer_that_is_not_independent_is_refused(
    recipe: str, facts: dict[str, object], message: str, arm: ComposeSmoke, control: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    config = arm()
    corpus = open_corpus(config)
    assert corpus.validation.present_writers() == ["simulated_0002"]
    assert "simulated_0004" in corpus.test.present_writers()
    own = load_weights(control, "classifier", "")
    scorer = tmp_path / "scorer.pt"
    save_weights(scorer, "classifier", own.arguments, {**own.facts, **facts}, own.state)
    with pytest.raises(InputError, match=message):
        train.main(arm(recipe, f"recipe.scorer={scorer}"))


def test_whom_the_scorer_saw_is_behind_the_recogniser_too(arm: ComposeSmoke) -> None:
    fonts = set(open_corpus(arm()).fonts.present_writers())
    for recipe, is_scored in (("recipe.keep=random", False), ("recipe.keep=top", True)):
        seen = load_weights(train.main(arm(recipe)), "classifier", "").facts["writers_seen"]
        assert (fonts <= set(seen)) == is_scored


def test_a_clip_that_saw_a_test_writer_is_refused(
    arm: ComposeSmoke, clip_folder: Path, tmp_path: Path
) -> None:
    own = load_weights(clip_folder, "clip", "")
    facts = {**own.facts, "writers_seen": ["simulated_0003"]}
    scorer = save_weights(tmp_path / "clip.pt", "clip", own.arguments, facts, own.state)
    by_clip = ("recipe.keep=top", "recipe.scored_by=clip")
    with pytest.raises(InputError, match="simulated_0003, who validates or tests"):
        train.main(arm(*by_clip, f"recipe.scorer={scorer}"))
    train.main(arm(*by_clip, f"recipe.scorer={clip_folder}"))


# When ---------------------------------------------------------------------------------------------


def test_generated_images_come_first_and_real_ones_last(
    arm: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int]] = []
    draw = bank.ImageBank.draw

    def noted(self: bank.ImageBank, size: int, generator: torch.Generator) -> Tensor:
        drawn.append((len(self), size))
        return draw(self, size, generator)

    monkeypatch.setattr(bank.ImageBank, "draw", noted)
    config = arm("recipe.generated_first=0.4", "gen_ratio=0.25", "classifier.use_fonts=true")
    train.main(config)
    corpus = open_corpus(config)
    sizes = [len(corpus.train), len(corpus.fonts), 30]
    first, then = ([*zip(sizes, shares, strict=True)] for shares in ([0, 8, 8], [12, 4, 0]))
    assert drawn == 4 * first + 6 * then


@pytest.fixture(scope="module")
def study() -> Config:
    return compose(["recipe.generated_first=0.25"])


@given(st.integers(2, 200), st.floats(0, 1), st.integers(1, 3), st.integers(1, 3))
def test_both_phases_fill_the_batch(
    study: Config, batch_size: int, ratio: float, num_own: int, num_generated: int
) -> None:
    settings = replace(study.classifier, batch_size=batch_size)
    config = replace(study, gen_ratio=ratio, classifier=settings)
    num_first, first, then = phases(config, num_own + num_generated, num_generated)
    assert num_first == config.classifier.num_steps // 4
    assert len(first) == len(then) == num_own + num_generated
    assert sum(first) == sum(then) == batch_size
    assert first[0] == 0
    assert max(first[1:]) - min(first[1:]) <= 1
    # Afterwards as if there were no generated images.
    assert then == batch_shares(batch_size, ratio, True, num_own) + [0] * num_generated


# Through which norms ------------------------------------------------------------------------------


def copy_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture
def network() -> Classifier:
    torch.manual_seed(0)
    return Classifier("small_resnet", 8, 16, len(SMOKE)).train()


def test_generated_images_touch_the_auxiliary_statistics_only(network: Classifier) -> None:
    separate = SeparateNorm(network)
    images = torch.randn(6, 1, 16, 16)
    for num_generated, touched, left in (
        (6, separate.auxiliary, network), (0, network, separate.auxiliary),
    ):  # fmt: skip
        before, others = copy_of(touched), copy_of(left)
        separate(images, num_generated)
        assert same(copy_of(left), others)
        changed = {name for name, value in copy_of(touched).items() if not
                   torch.equal(value, before[name])}  # fmt: skip
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        assert changed == {name for name in before if name.endswith(statistics)}


def test_each_part_of_a_batch_is_normalised_by_itself(network: Classifier) -> None:
    alone = deepcopy(network)
    separate = SeparateNorm(network)
    images = torch.randn(7, 1, 16, 16)
    logits = separate(images, 3)
    torch.testing.assert_close(logits[:4], alone(images[:4]))
    torch.testing.assert_close(logits[4:], alone(images[4:]))


def test_both_sets_of_norms_and_what_they_share_learn(network: Classifier) -> None:
    separate = SeparateNorm(network)
    separate(torch.randn(8, 1, 16, 16), 4).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in separate.parameters())
    num_norm_weights = sum(p.numel() for p in separate.auxiliary.parameters())
    num_weights = [sum(p.numel() for p in n.parameters()) for n in (separate, network)]
    assert num_weights[0] == num_weights[1] + num_norm_weights


@pytest.mark.parametrize("name", ["resnet10t", "small_resnet"])
def test_any_network_with_batch_norm_can_be_separated(name: str) -> None:
    encoder = build_encoder(name, 8, 32).train()
    separate = SeparateNorm(encoder)
    before = copy_of(encoder)
    assert separate(torch.randn(4, 1, 32, 32), 4).shape == (4, encoder.num_features)
    assert same(copy_of(encoder), before)
    with pytest.raises(InputError, match="no batch norm"):
        SeparateNorm(build_encoder("vit_tiny_patch16_224", 8, 32))


def test_the_main_norms_alone_are_saved(arm: ComposeSmoke) -> None:
    weights = load_weights(train.main(arm("recipe.separate_norm=true")), "classifier", "")
    plain = load_weights(train.main(arm()), "classifier", "")
    assert weights.state.keys() == recogniser(weights).state_dict().keys()
    assert (weights.arguments, weights.facts) == (plain.arguments, plain.facts)
    counted = {int(v) for k, v in weights.state.items() if k.endswith("num_batches_tracked")}
    assert counted == {10}


# Of which class -----------------------------------------------------------------------------------


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


def test_a_class_that_nobody_wrote_counts_as_confused_as_the_mean() -> None:
    likelihoods = np.array([[0.5, 0.3, 0.2], [0.1, 0.9, 0], [np.nan] * 3])
    weights = class_weights(likelihoods)
    confused = np.array([0.5 + 0.1, 0.1 + 0.3, 0.3 + 0.2])
    np.testing.assert_allclose(weights, 1 / 6 + 0.5 * confused / confused.sum())


def test_confusion_is_the_mean_of_what_images_of_a_class_are_taken_for(
    corpus: Corpus, control: Path, runtime: Runtime
) -> None:
    weights = load_weights(control, "classifier", "")
    images = corpus.test.select(corpus.test.labels != 2)
    found = confusion(weights, images, runtime)
    with torch.no_grad():
        given = recogniser(weights)(to_float(torch.tensor(images.images[:]))).softmax(dim=1)
    for label in range(len(SMOKE)):
        expected = given[torch.tensor(images.labels == label)].mean(dim=0)
        np.testing.assert_allclose(found[label], expected.numpy(), rtol=1e-4)
    assert np.isnan(found[2]).all()


def test_a_class_bank_draws_classes_by_weight_and_their_images_alike(
    corpus: Corpus, rng: torch.Generator
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


def test_generated_images_are_drawn_by_the_confusion_of_the_control(
    arm: ComposeSmoke, control: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = arm("recipe.by_confusion=true", "gen_ratio=1", "classifier.batch_size=500")
    corpus = open_corpus(config)
    found = confusion(load_weights(control, "classifier", ""), corpus.validation, runtime)
    seen: Counter[int] = Counter()
    draw = ClassBank.draw

    def noted(self: ClassBank, size: int, generator: torch.Generator) -> Tensor:
        indices = draw(self, size, generator)
        seen.update(self.labels[indices].tolist())
        return indices

    monkeypatch.setattr(ClassBank, "draw", noted)
    train.main(config)
    shares = np.array([seen[label] for label in range(len(SMOKE))]) / 5000
    np.testing.assert_allclose(shares, class_weights(found), atol=0.025)


# What cannot be used ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["recipe.keep=top", "recipe.keep_share=0"], "recipe.keep_share=0.0"),
        (["recipe.keep=top", "recipe.scorer=null"], "no classifier weights .*run .*train.py"),
        (["recipe.scored_by=clip", "recipe.keep=top"], "holds classifier weights, expected clip"),
        (["recipe.generated_first=1"], "recipe.generated_first=1.0"),
        (["recipe.generated_first=0.05"], "some of 10 steps"),
        (["recipe.generated_first=-0.5"], "recipe.generated_first=-0.5"),
        (["recipe.generated_first=nan"], "recipe.generated_first=nan"),
        (["recipe.generated_first=0.5", "classifier.use_real=false"], "classifier.use_real"),
        (["recipe.separate_norm=true", "classifier.use_real=false"], "this arm sees none"),
        (["recipe.separate_norm=true", "gen_ratio=1"], "this arm sees none"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_named_and_ends_nothing(
    overrides: list[str], message: str, arm: ComposeSmoke
) -> None:
    config = arm("classifier.name=arm")
    train.main(config)
    with pytest.raises(InputError, match=message):
        train.main(arm("classifier.name=arm", *overrides))
    assert (run_folder(config) / "classifier/arm/seed_0/done.json").is_file()
