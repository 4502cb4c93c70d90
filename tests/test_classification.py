"""Training a recogniser: every arm sees what its name says, in the shares that were asked for."""

import os
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke, Write
from PIL import Image

from handwriting.corpus import bank
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.runs.weights import load_weights
from handwriting.storage.json_files import read_json, write_json
from training_character_classification import train
from training_character_classification.arms import read_generated, training_sources


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


def test_no_test_or_validation_writer_is_behind_a_training_image(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    config = smoke(
        f"use_gen={write_images()}", "data.num_simulated_writers=2",
        "classifier.use_simulated=true", "classifier.use_fonts=true",
    )  # fmt: skip
    corpus = open_corpus(config)
    seen = load_weights(train.main(config), "classifier").facts["writers_seen"]
    held_out = {*corpus.test.present_writers(), *corpus.validation.present_writers()}
    assert not held_out & set(seen)
    assert set(corpus.train.present_writers()) <= set(seen)


def test_sources_are_as_asked_for_real_first(smoke: ComposeSmoke, write_images: Write) -> None:
    path = write_images(characters=tuple(reversed(SMOKE)))
    config = smoke("data.num_simulated_writers=2", "classifier.use_simulated=true")
    corpus = open_corpus(config)
    sources = training_sources(config, corpus, [read_manifest(path)])
    np.testing.assert_array_equal(sources[0].images, corpus.train.images)
    assert sources[1] is corpus.simulated
    assert all(source.characters == corpus.characters for source in sources)
    names = [sources[2].characters[label] for label in sources[2].labels[:5]]
    assert names == ["休"] * 5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["classifier.use_real=false"], "nothing to train on"),
        (["classifier.use_simulated=true"], "data.num_simulated_writers"),
        (["use_gen=gone/manifest.json"], "no such file: .*gone/manifest.json"),
        (["classifier.network=resnet_9000"], "no network 'resnet_9000'"),
    ],
)
def test_what_cannot_be_trained_is_named(
    overrides: list[str], message: str, smoke: ComposeSmoke
) -> None:
    with pytest.raises(InputError, match=message):
        train.main(smoke(*overrides))


def test_a_missing_generated_class_is_named(smoke: ComposeSmoke, write_images: Write) -> None:
    path = write_images(characters=SMOKE[:-1])
    with pytest.raises(InputError, match=r"休 \(U\+4F11\): in the class list, not in the manifest"):
        train.main(smoke(f"use_gen={path}"))


def test_generated_images_in_a_test_writers_hand_are_refused(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    path = write_images()
    config = smoke(f"use_gen={path}")
    tested = open_corpus(config).test.present_writers()[0]
    first, *others = [file for files in read_json(path).values() for file in files]
    write_json(path.with_name("writers.json"), {**dict.fromkeys(others, ""), first: tested})
    with pytest.raises(InputError, match=f"has seen {tested}"):
        train.main(config)


def test_whoever_is_behind_generated_images_is_behind_the_recogniser(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    path = write_images(writers=["made"], name="made")
    write_json(path.with_name("facts.json"), {"writers_seen": ["somebody"]})
    config = smoke(f"use_gen={path}", "classifier.num_steps=2")
    weights = load_weights(train.main(config), "classifier")
    assert "somebody" in weights.facts["writers_seen"]
    tested = open_corpus(config).test.present_writers()[0]
    write_json(path.with_name("facts.json"), {"writers_seen": [tested]})
    with pytest.raises(InputError, match=f"made/manifest.json: 1 problem[^/]*has seen {tested}"):
        train.main(config)


def test_images_in_nobodys_hand_are_taken_where_the_tested_people_are_unknown_too(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    names = ("train", "validation", "test", "made")
    train_, validation, test, made = (
        write_images(name=name, writers=[f"{name}{i}" for i in range(3)]) for name in names
    )
    config = smoke(
        "data=manifest", "data.characters=null", "data.num_simulated_writers=0", f"use_gen={made}",
        f"data.manifest={train_}", f"data.validation_manifest={validation}",
        f"data.test_manifest={test}",
    )  # fmt: skip
    assert open_corpus(config).test.present_writers() == [""]
    assert len(read_generated(config, open_corpus(config), [made])) == 1


def test_an_arm_is_trained_again_when_its_generated_images_change(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    path = write_images()
    config = smoke(f"use_gen={path}")
    weights = train.main(config) / "classifier.safetensors"
    before = weights.stat().st_mtime_ns
    for image in path.parent.rglob("*.png"):
        with Image.open(image) as picture:
            turned = picture.transpose(Image.Transpose.ROTATE_180)
        turned.save(image)
        os.utime(image)
    train.main(config)
    assert weights.stat().st_mtime_ns != before
