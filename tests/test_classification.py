"""Training a recogniser: every arm sees what its name says, in the shares that were asked for."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke
from hypothesis import given, strategies as st
from PIL import Image

from handwriting.corpus import bank
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.networks.encoders import Classifier
from handwriting.runs.run import run_folder
from handwriting.runs.weights import load_weights
from handwriting.storage.json_files import read_json, write_json
from training_character_classification import train
from training_character_classification.arms import (
    arm_config,
    arm_name,
    batch_shares,
    generated_manifests,
    read_generated,
    training_sources,
)

Write = Callable[..., Path]


@given(st.integers(1, 300), st.floats(0, 1), st.booleans(), st.integers(1, 5))
def test_shares_fill_the_batch_and_are_equal_among_what_is_not_real(
    batch_size: int, ratio: float, first_is_real: bool, num_sources: int
) -> None:
    shares = batch_shares(batch_size, ratio, first_is_real, num_sources)
    assert len(shares) == num_sources
    assert sum(shares) == batch_size
    others = shares[first_is_real:]
    assert min(shares) >= 0
    assert not others or max(others) - min(others) <= 1
    if first_is_real and others:
        assert sum(others) == pytest.approx(batch_size * ratio, abs=0.5)


@pytest.mark.parametrize("ratio", [-0.1, 1.5, float("nan")])
def test_a_ratio_that_is_no_share_is_named(ratio: float) -> None:
    with pytest.raises(InputError, match="gen_ratio"):
        batch_shares(8, ratio, True, 2)


def test_use_gen_takes_nothing_one_or_several() -> None:
    assert generated_manifests("") == []
    assert generated_manifests("a.json") == [Path("a.json")]
    assert generated_manifests(["a.json", "b.json"]) == [Path("a.json"), Path("b.json")]
    for wrong in (3, None, ["a", 1], {"a": 1}):
        with pytest.raises(InputError, match="use_gen"):
            generated_manifests(wrong)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["aug=false"], "real"),
        (["aug=true", "classifier.use_fonts=true"], "real+fonts+classical"),
        (["aug=false", "use_gen=runs/x/generated/adain/manifest.json"], "real+adain"),
        (["aug=false", "classifier.use_real=false", "classifier.use_simulated=true"], "simulated"),
        (["classifier.name=mine"], "mine"),
    ],
)
def test_an_arm_is_named_after_what_it_sees(
    overrides: list[str], name: str, smoke: ComposeSmoke
) -> None:
    assert arm_name(smoke(*overrides)) == name


@pytest.mark.parametrize(
    "name",
    [
        "real",
        "real+classical",
        "fonts",
        "real+fonts+simulated+classical",
        "cdiffusion+classical",
        "real+vae+dcgan",
        "real+fonts+simulated+adain_clip+classical",
    ],
)
def test_an_arm_is_configured_by_its_name(name: str, smoke: ComposeSmoke) -> None:
    # What an arm sees is decided by its name alone.
    other = smoke("use_gen=x.json", "classifier.name=mine", "classifier.splits=[test]")
    arm = arm_config(other, name)
    assert arm_name(arm) == name
    assert arm.classifier.splits == ["train"]
    assert (arm.seed, arm.gen_ratio) == (other.seed, other.gen_ratio)
    words = name.split("+")
    seen = arm.classifier
    assert (seen.use_real, seen.use_fonts, seen.use_simulated, arm.aug) == tuple(
        word in words for word in ("real", "fonts", "simulated", "classical")
    )


def test_a_generator_in_an_arms_name_stands_for_the_studys_images(smoke: ComposeSmoke) -> None:
    home = run_folder(smoke()) / "generated"
    found = generated_manifests(arm_config(smoke(), "real+vae+adain").use_gen)
    assert found == [home / "vae/manifest.json", home / "adain/manifest.json"]


def test_every_arm_of_the_evidence_can_be_configured(smoke: ComposeSmoke) -> None:
    evidence = smoke().evidence
    for name in (*evidence.arms, evidence.control, evidence.recipe_arm):
        assert arm_name(arm_config(smoke(), name)) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "arm '': expected one or more of real"),
        ("classical", "arm 'classical': expected"),
        ("real+font", "arm 'real.font': expected .* fonts"),
        ("real++fonts", "expected"),
        ("real+vae+vae", "each once"),
        ("real+vae@top", "expected"),
        ("fonts+real", "in the order of 'real.fonts'"),
        ("real+classical+vae", "in the order of 'real.vae.classical'"),
    ],
)
def test_a_name_that_is_no_arm_is_refused(name: str, message: str, smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match=message):
        arm_config(smoke(), name)


def test_batches_have_the_shares_that_were_asked_for(
    smoke: ComposeSmoke, write_images: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: Counter[int] = Counter()
    draw = bank.ImageBank.draw

    def noted(self: bank.ImageBank, size: int, generator: torch.Generator) -> torch.Tensor:
        drawn[len(self)] += size
        return draw(self, size, generator)

    monkeypatch.setattr(bank.ImageBank, "draw", noted)
    path = write_images(writers=["a", "b", "c"])  # 18 images
    config = smoke(f"use_gen={path}", "gen_ratio=0.75", "classifier.use_fonts=true")
    train.main(config)
    corpus = open_corpus(config)
    assert drawn == {len(corpus.train): 40, len(corpus.fonts): 60, 18: 60}


def test_an_arm_takes_the_same_steps_whatever_it_sees(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    path = write_images()
    for overrides in ([], [f"use_gen={path}"], ["classifier.use_real=false", f"use_gen={path}"]):
        folder = train.main(smoke(*overrides))
        last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
        assert '"step": 10' in last


def test_no_test_or_validation_writer_is_behind_a_training_image(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    config = smoke(
        f"use_gen={write_images()}", "data.num_simulated_writers=2",
        "classifier.use_simulated=true", "classifier.use_fonts=true",
    )  # fmt: skip
    corpus = open_corpus(config)
    seen = load_weights(train.main(config), "classifier", "").facts["writers_seen"]
    held_out = {*corpus.test.present_writers(), *corpus.validation.present_writers()}
    assert not held_out & set(seen)
    assert set(corpus.train.present_writers()) <= set(seen)


def test_sources_are_what_was_asked_for_real_first(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    path = write_images(characters=tuple(reversed(SMOKE)))
    config = smoke("data.num_simulated_writers=2", "classifier.use_simulated=true")
    corpus = open_corpus(config)
    sources = training_sources(config, corpus, [read_manifest(path)])
    np.testing.assert_array_equal(sources[0].images, corpus.train.images)
    assert sources[1] is corpus.simulated
    assert all(source.characters == corpus.characters for source in sources)
    names = [sources[2].characters[label] for label in sources[2].labels[:5]]
    assert names == ["休"] * 5


def test_a_judge_may_be_trained_on_other_splits(smoke: ComposeSmoke) -> None:
    config = smoke("classifier.splits=[validation,test]", "classifier.name=judge")
    corpus = open_corpus(config)
    seen = load_weights(train.main(config), "classifier", "").facts["writers_seen"]
    assert set(seen) == {*corpus.validation.present_writers(), *corpus.test.present_writers()}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["classifier.use_real=false"], "nothing to train on"),
        (["classifier.use_simulated=true"], "data.num_simulated_writers"),
        (["classifier.splits=[tset]"], r"classifier.splits=\['tset'\]"),
        (["classifier.splits=[]"], r"classifier.splits=\[\]"),
        (["use_gen=gone/manifest.json"], "no such file: .*gone/manifest.json"),
        (["classifier.network=resnet_9000"], "no network 'resnet_9000'"),
    ],
)
def test_what_cannot_be_trained_is_named(
    overrides: list[str], message: str, smoke: ComposeSmoke
) -> None:
    with pytest.raises(InputError, match=message):
        train.main(smoke(*overrides))


def test_a_generated_class_that_is_missing_is_named(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    path = write_images(characters=SMOKE[:-1])
    with pytest.raises(InputError, match=r"休 \(U\+4F11\): in the class list, not in the manifest"):
        train.main(smoke(f"use_gen={path}"))


def test_generated_images_in_a_test_writers_hand_are_refused(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    path = write_images()
    config = smoke(f"use_gen={path}")
    tested = open_corpus(config).test.present_writers()[0]
    first = next(iter(read_json(path).values()))[0]
    write_json(path.with_name("writers.json"), {first: tested})
    with pytest.raises(InputError, match=f"in the hand of {tested}, who is tested"):
        train.main(config)


def test_images_in_nobodys_hand_are_taken_where_the_tested_people_are_unknown_too(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    train_, validation, test, made = (
        write_images(name=name, writers="abcde") for name in ("train", "validation", "test", "made")
    )
    config = smoke(
        "data=manifest", "data.characters=null", "data.num_simulated_writers=0", f"use_gen={made}",
        f"data.manifest={train_}", f"data.validation_manifest={validation}",
        f"data.test_manifest={test}",
    )  # fmt: skip
    assert open_corpus(config).test.present_writers() == [""]
    assert len(read_generated(config, open_corpus(config))) == 1


def test_a_saved_recogniser_is_rebuilt_from_its_file(smoke: ComposeSmoke) -> None:
    weights = load_weights(train.main(smoke("classifier.name=arm")), "classifier", "")
    network = Classifier(**weights.arguments)
    network.load_state_dict(weights.state)
    assert "".join(weights.facts["characters"]) == SMOKE
    assert (weights.facts["arm"], weights.facts["seed"]) == ("arm", 0)


def test_an_arm_is_trained_again_when_its_generated_images_change(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    path = write_images()
    config = smoke(f"use_gen={path}")
    weights = train.main(config) / "classifier.pt"
    before = weights.stat().st_mtime_ns
    for image in path.parent.rglob("*.png"):
        with Image.open(image) as picture:
            turned = picture.transpose(Image.Transpose.ROTATE_180)
        turned.save(image)
        os.utime(image)
    train.main(config)
    assert weights.stat().st_mtime_ns != before
