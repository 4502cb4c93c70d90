"""One person is enough for what tests nobody; what does says so, and what to set."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ComposeSmoke

import evidence
import pipeline
from handwriting.corpus.generation import FACTS
from handwriting.errors import InputError
from handwriting.storage.json_files import read_json
from training_character_classification import judge, test, train
from training_character_classification.arms import judge_arm
from training_character_classification.measures.table import OUTSIDE
from training_clip import train_clip, train_image_encoder
from training_vae import generate_images, train as train_vae

ALONE = ["data.train_writers=1", "data.validation_writers=0", "data.test_writers=0"]


def test_encoders_generators_and_the_judge_need_nobody_else(
    smoke: ComposeSmoke, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = smoke(*ALONE, "data.num_simulated_writers=2", "evaluation.judge_steps=4",
                   f"text_weight={trained}/smoke/text_encoder")  # fmt: skip
    for stage in (train_image_encoder, train_clip, train_vae):
        stage.main(config)
    folder = generate_images.main(config)
    assert "simulated_0000" in read_json(folder / FACTS)["writers_seen"]
    train.main(judge_arm(config))
    found = read_json(judge.main(config) / "metrics.json")["sources"]["vae"]
    known = {name for name, value in found.items() if value is not None}
    assert known - {OUTSIDE} == {"content_accuracy", "images"}
    said = capsys.readouterr().out
    for part in (
        "no validation writers: accuracy",
        "no validation writers: retrieval",
        "no writers in validation or test: the judge",
        "no validation or test writers: measures",
    ):
        assert part in said
    for name in ("image_encoder", "clip"):
        assert read_json(folder.parents[1] / name / "metrics.json").keys() == {"duration_s"}


def test_an_arm_without_its_people_is_refused(smoke: ComposeSmoke) -> None:
    config = smoke(*ALONE)
    settings = replace(config.classifier, splits=["validation", "test"], use_fonts=True)
    with pytest.raises(
        InputError, match=r"no writers are in these splits\. Set data\.train_writers, "
    ):
        train.main(replace(config, classifier=settings))


@pytest.mark.parametrize("stage", [pipeline, evidence, test])
def test_what_tests_people_says_that_it_needs_them(
    stage: ModuleType, smoke: ComposeSmoke, trained: Path
) -> None:
    config = smoke(*ALONE, "evidence.people=[1]")
    if stage is test:
        config.evaluation.recognisers = [str(train.main(config))]
    with pytest.raises(InputError, match=r"no test writers.*data\.test_writers"):
        stage.main(config)


def test_a_recipe_by_confusion_needs_validation_writers(
    smoke: ComposeSmoke, write_images: Callable[..., Path]
) -> None:
    config = smoke(*ALONE, "recipe.by_confusion=true", f"use_gen={write_images(writers=['1'])}")
    with pytest.raises(InputError, match=r"data\.validation_writers above 0"):
        train.main(config)
