"""Testing recognisers: side by side, on people whom none of them has seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke, Write, smoke_overrides
from PIL import Image

from handwriting.config import Config
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.augment import to_float
from handwriting.networks.encoders import Classifier
from handwriting.runs.folder import run_folder
from handwriting.runs.weights import build, load_weights
from handwriting.script import compose
from handwriting.storage.json_files import read_json
from training_character_classification import test, train
from training_character_classification.arms import judge_arm
from training_character_classification.measures import outside_judge
from training_character_classification.reading import mistakes_of

ARMS = ("real/seed_0", "real/seed_1", "real+fonts+classical/seed_0")


@pytest.fixture(scope="module")
def recognisers(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A ``runs_dir`` with three arms of a study, its judge, and a study that saw test writers."""
    runs_dir = tmp_path_factory.mktemp("recognisers")

    def config(*more: str) -> Config:
        return compose(smoke_overrides(runs_dir, cache_dir, "data.split_seed=0", *more))

    train.main(config("aug=false"))
    train.main(config("aug=false", "seed=1"))
    train.main(config("classifier.use_fonts=true", "classifier.num_steps=60"))
    train.main(judge_arm(config()))
    train.main(config("name=leak", "classifier.splits=[train,test]"))
    return runs_dir


@pytest.fixture
def study(recognisers: Path, smoke: ComposeSmoke) -> Callable[..., Config]:
    return lambda *more: smoke(*more, runs_dir=recognisers)


def read(folder: Path) -> dict[str, Any]:
    return read_json(folder / "metrics.json")


def test_all_of_the_studys_recognisers_stand_side_by_side_but_judges(study: ComposeSmoke) -> None:
    config = study()
    folder = test.main(config)
    metrics = read(folder)
    assert metrics["of"] == "test writers"
    assert metrics["images"] == len(open_corpus(config).test) == 12
    results = metrics["recognisers"]
    assert set(results) == set(ARMS)
    _, *lines = (folder / "table.txt").read_text("utf-8").splitlines()
    assert [line.split()[0] for line in lines] == list(results)
    for name in results:
        for scores in results[name]["per_character"].values():
            assert scores.keys() == {"accuracy", "precision", "recall", "f1", "support"}
    with Image.open(folder / "per_character.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 200


@pytest.mark.parametrize("name", ARMS)
def test_scores_are_those_of_the_saved_network_on_the_test_writers(
    name: str, study: ComposeSmoke
) -> None:
    config = study()
    folder = test.main(config)
    found = read(folder)["recognisers"][name]
    images = open_corpus(config).test
    weights = load_weights(run_folder(config) / "classifier" / name, "classifier")
    with torch.no_grad():
        logits = build(Classifier, weights).eval()(
            to_float(torch.from_numpy(np.array(images.images)))
        )
    right = logits.argmax(1).numpy() == images.labels
    assert found["accuracy"] == pytest.approx(right.mean())
    arm, _, seed = name.partition("/seed_")
    results = read_json(folder / "results.json")
    (own,) = [one for one in results if (one["arm"], one["seed"]) == (arm, int(seed))]
    for key, count in (("right", right.sum()), ("shown", len(images))):
        assert sum(sum(writer[key]) for writer in own["writers"].values()) == count
    assert own["people"] == 2
    for i, character in enumerate(SMOKE):
        expected = right[images.labels == i].mean()
        assert found["per_character"][character]["accuracy"] == pytest.approx(expected)
    for writer, accuracy in zip(found["writers"], found["per_writer"], strict=True):
        is_own = images.writers == images.writer_names.index(writer)
        assert accuracy == pytest.approx(right[is_own].mean())
    assert found["writers"] == images.present_writers()
    low, high = found["interval"]
    assert low <= np.mean(found["per_writer"]) <= high
    assert sum(count for *_, count in found["confusions"]) == (~right).sum()


@pytest.mark.skipif(outside_judge.installed() is None, reason="the extra is not installed")
def test_the_judge_from_outside_reads_the_same_images(study: ComposeSmoke) -> None:
    config = study()
    (found,) = read_json(test.main(config) / "outside.json")
    images = open_corpus(config).test
    judge = outside_judge.OutsideJudge(images.characters)
    assert judge.knows.all()
    right = judge.predict(images.images) == images.labels
    assert sum(sum(own["right"]) for own in found["writers"].values()) == right.sum()
    assert sum(sum(own["shown"]) for own in found["writers"].values()) == len(images)


def test_mistakes_of_all_images_are_shown_with_what_was_read(study: ComposeSmoke) -> None:
    images = open_corpus(study()).test
    guesses = images.labels.copy()
    wrong = [0, 1, *range(3, len(images))]
    guesses[wrong] = (guesses[wrong] + 1) % len(SMOKE)
    shown = mistakes_of(guesses, images, len(wrong))
    for (image, caption), i in zip(shown, wrong, strict=True):
        assert (image == images.images[i]).all()
        assert caption == f"{SMOKE[images.labels[i]]}→{SMOKE[guesses[i]]}"
    some = mistakes_of(guesses, images, 3)
    assert [caption for _, caption in some] == [shown[i][1] for i in (0, (len(wrong) - 1) // 2, -1)]


def test_recognisers_of_one_name_are_both_told(study: ComposeSmoke, smoke: ComposeSmoke) -> None:
    own = run_folder(study()) / "classifier" / ARMS[0]
    other = train.main(smoke("aug=false", "classifier.num_steps=3"))  # another study's arm
    results = read(test.main(study(f"evaluation.recognisers=['{own}','{other}']")))["recognisers"]
    assert list(results) == [ARMS[0], f"{other / 'classifier.safetensors'}/seed_0"]


def test_a_recogniser_in_a_folder_of_a_folder_is_found(study: ComposeSmoke) -> None:
    config = study("name=deep", "classifier.name=mine/first", "classifier.num_steps=2")
    path = train.main(config)
    train.main(judge_arm(study("name=deep", "evaluation.judge_steps=2")))
    assert [weights.path.parent for weights in test.find_recognisers(study("name=deep"))] == [path]


def test_a_recogniser_that_saw_test_writers_is_refused_by_name(study: ComposeSmoke) -> None:
    leak = run_folder(study("name=leak")) / "classifier" / "real+classical" / "seed_0"
    judge = run_folder(study()) / "classifier" / "judge" / "seed_0"
    for path in (leak, judge):
        config = study("name=refuses", f"evaluation.recognisers=['{path}']")
        tested = open_corpus(config).test.present_writers()
        with pytest.raises(InputError, match=f"{path.name}/.*: {len(tested)} problem") as raised:
            test.main(config)
        assert all(f"has seen {name}" in str(raised.value) for name in tested)
        assert not run_folder(config).exists()


def test_a_manifest_replaces_the_test_writers(study: ComposeSmoke, write_images: Write) -> None:
    writers = ["writer_1", "writer_2"]
    path = write_images(tuple(reversed(SMOKE[:4])), writers, is_bent=False)
    leak = run_folder(study("name=leak")) / "classifier" / "real+classical" / "seed_0"
    fonts = run_folder(study()) / "classifier" / ARMS[2]
    config = study(
        "name=elsewhere", f"evaluation.manifest={path}",
        f"evaluation.recognisers=['{fonts}','{leak}']",
    )  # fmt: skip
    metrics = read(test.main(config))
    assert (metrics["images"], metrics["of"]) == (8, "the manifest's images")
    by_fonts = metrics["recognisers"][ARMS[2]]
    assert set(by_fonts["per_character"]) == set(SMOKE[:4])  # no image, no line
    assert len(by_fonts["per_writer"]) == 2
    # It has seen this font, and the labels survive another order of the classes.
    assert by_fonts["accuracy"] > 0.6


def test_what_a_study_does_not_know_is_told_and_left_out(
    study: ComposeSmoke, write_images: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_images(characters="木明")
    metrics = read(test.main(study("name=elsewhere", f"evaluation.manifest={path}",
                                   f"evaluation.recognisers=['{run_folder(study())}/classifier/"
                                   f"{ARMS[0]}']")))  # fmt: skip
    assert metrics["images"] == 5
    assert "left out, unknown to the study: 明" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        ("明日", r"json: none of this study's 6 characters \(あシツ木林休...\), only 明日"),
        ("", "is not a manifest"),
    ],
)
def test_a_manifest_of_other_characters_is_refused(
    characters: str, message: str, study: ComposeSmoke, write_images: Write
) -> None:
    path = write_images(characters=characters) if characters else write_images()
    if not characters:
        path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        test.main(study(f"evaluation.manifest={path}"))


def test_a_recogniser_of_other_characters_is_refused(study: ComposeSmoke) -> None:
    with pytest.raises(InputError, match=r"was trained on other characters \(6: "):
        test.main(study("data.characters=あシツ木林明"))


def test_without_recognisers_the_command_that_trains_them_is_told(smoke: ComposeSmoke) -> None:
    command = "run training_character_classification/train.py first"
    with pytest.raises(InputError, match=f"no recognisers in .*runs/smoke/classifier: {command}"):
        test.main(smoke())
    train.main(judge_arm(smoke()))
    with pytest.raises(InputError, match="no recognisers in"):  # a judge alone is none
        test.main(smoke())
    with pytest.raises(InputError, match="no classifier weights at nowhere"):
        test.main(smoke("evaluation.recognisers=[nowhere]"))


def test_testing_is_not_repeated_until_a_recogniser_changes(smoke: ComposeSmoke) -> None:
    train.main(smoke("aug=false"))
    done = test.main(smoke()) / "done.json"
    before = done.stat().st_mtime_ns
    test.main(smoke())
    assert done.stat().st_mtime_ns == before
    train.main(smoke("aug=false", "classifier.num_steps=3"))
    test.main(smoke())
    assert done.stat().st_mtime_ns != before
