"""The judge: its readings and measures of every source of images."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import SMOKE, ComposeSmoke, Write, smoke_overrides

from handwriting.config import Config
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.manifest import Entry, write_manifest
from handwriting.images.packed import PackedImages, concatenate
from handwriting.images.sheets import save_png
from handwriting.networks.encoders import Classifier
from handwriting.runs.folder import run_folder
from handwriting.runs.inference import predict
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights
from handwriting.script import compose
from handwriting.storage.json_files import read_json, write_json
from handwriting.storage.keys import file_key
from training_character_classification import judge, test as evaluation, train
from training_character_classification.arms import judge_arm
from training_character_classification.measures import distances, outside_judge, table
from training_character_classification.measures.distances import APPEARANCE
from training_character_classification.measures.quality import writers_of
from training_character_classification.measures.style import TRAITS
from training_character_classification.measures.table import OUTSIDE, available


def read(folder: Path) -> dict[str, Any]:
    return read_json(folder / "metrics.json")["sources"]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A ``runs_dir`` in which the judge is trained until it reads what it has seen."""
    runs_dir = tmp_path_factory.mktemp("judged")
    config = compose(smoke_overrides(runs_dir, cache_dir, "evaluation.judge_steps=60"))
    train.main(judge_arm(config))
    return runs_dir


@pytest.fixture
def study(judged: Path, smoke: ComposeSmoke) -> Callable[..., Config]:
    return lambda *more: smoke(*more, runs_dir=judged)


def write_copies(folder: Path, packed: PackedImages, are_named: bool = True) -> Path:
    """The manifest of a source that has these very images."""
    entries = []
    for i, name in enumerate(writers_of(packed)):
        writer = name if are_named else ""
        character = packed.characters[packed.labels[i]]
        entries.append(Entry(character, str(folder / f"{i}.png"), str(writer)))
        save_png(entries[-1].path, packed.images[i])
    write_manifest(folder / "manifest.json", entries)
    return folder / "manifest.json"


def test_sources_are_read_as_the_judge_reads_them(study: ComposeSmoke, write_images: Write) -> None:
    path = write_images(characters=tuple(reversed(SMOKE)))
    config = study(f"use_gen={path}", "data.num_simulated_writers=2")
    sources = read(judge.main(config))
    corpus = open_corpus(config)
    weights = load_weights(run_folder(config) / "classifier/judge/seed_0", "classifier")
    network, runtime = build(Classifier, weights), Runtime(config.runtime)
    assert corpus.simulated is not None
    for name, images in (
        ("training writers", corpus.train), ("font renders", corpus.fonts),
        ("simulated", corpus.simulated),
    ):  # fmt: skip
        right = (predict(network, images, runtime) == images.labels).mean()
        assert sources[name]["content_accuracy"] == pytest.approx(right)
        assert sources[name]["images"] == len(images)
        assert sources[name].keys() == {*(measure.name for measure in available()), "images"}
    assert sources["own"]["images"] == 30
    # Fonts are what it has seen; the manifest is of fonts too, whatever the order of its classes.
    assert sources["font renders"]["content_accuracy"] > 0.9
    assert sources["own"]["content_accuracy"] > 0.6
    assert all(0 <= source["domain_auc"] <= 1 for source in sources.values())


def test_the_judge_from_outside_reads_a_sample_where_it_is_installed(
    study: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Judge:
        def __init__(self, characters: Sequence[str]) -> None:
            assert set(characters) == set(SMOKE)

        def read_as_intended(self, images: Any, labels: Any) -> float:
            assert len(set(labels.tolist())) == len(SMOKE)
            return float(len(images))

    config = study("data.num_simulated_writers=4")
    for version in (None, "one", "two"):
        monkeypatch.setattr(outside_judge, "installed", lambda version=version: version)
        monkeypatch.setattr(table, "OutsideJudge", Judge)
        monkeypatch.setattr(table, "MAX_READ", 2 * len(SMOKE) + 1)
        metrics = read_json(judge.main(config) / "metrics.json")  # judged again by another judge
        assert metrics["judge"]["outside_judge"] == version
        found = metrics["sources"]["simulated"]
        assert (OUTSIDE in found) == bool(version)
        assert found.get(OUTSIDE, 2 * len(SMOKE)) == 2 * len(SMOKE)


def test_copies_of_training_images_are_known_as_such(study: ComposeSmoke, tmp_path: Path) -> None:
    path = write_copies(tmp_path / "copies", open_corpus(study()).train)
    sources = read(judge.main(study(f"use_gen={path}")))
    own, copies = sources["training writers"], sources["copies"]
    assert copies["nearest_distance"] == 0 < own["nearest_distance"]
    for measure in ("content_accuracy", "diversity", "style_match"):
        assert copies[measure] == pytest.approx(own[measure])


def test_copies_of_training_images_follow_their_writers(
    study: ComposeSmoke, tmp_path: Path
) -> None:
    twice = "data.samples_per_writer=2"
    for few, more in ((["data.train_writers=2"], False), (["data.train_writers=3"], True)):
        path = write_copies(tmp_path / f"{more}", open_corpus(study(*few)).train)
        sources = read(judge.main(study(*few, twice, f"use_gen={path}")))
        for trait in TRAITS:
            own, copies, fonts = (
                sources[name][f"{trait}_agreement"]
                for name in ("training writers", f"{more}", "font renders")
            )
            assert fonts is None  # of each character one
            assert (own is not None) == (copies is not None) == more
            assert not more or 0.3 < own < 1
            assert not more or own < copies  # half of what they wrote, the whole beside it


def test_copies_of_held_out_people_are_at_no_distance(study: ComposeSmoke, tmp_path: Path) -> None:
    many = "data.num_writers=12"
    corpus = open_corpus(study(many))
    people = concatenate([corpus.validation, corpus.test])
    path = write_copies(tmp_path / "copies", people, are_named=False)
    found = read(judge.main(study(many, f"use_gen={path}")))["copies"]
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    for distance in ("frechet_distance", "stroke_width", "grey_level", "centroid"):
        assert found[distance] == pytest.approx(0, abs=1e-9)
    assert found["kernel_distance"] < 0  # the nearest image is not left out of the other set


@pytest.mark.parametrize(("train_writers", "compared"), [(2, [12, 24, 54]), (6, [36, 24, 36])])
def test_rows_are_compared_with_as_many_as_the_training_writers_if_those_are_enough(
    train_writers: int, compared: list[int], study: ComposeSmoke, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sizes = []

    def noted(real: Any, other: Any) -> dict[str, float | None]:
        assert len(real) == len(other)
        sizes.append(len(other))
        return dict.fromkeys(APPEARANCE)

    def of_unit_variance(real: Any, other: Any) -> float:
        assert 0.5 < real.var(axis=0).sum() < 1.5  # of people, whatever the judge's features are
        return 0.0

    monkeypatch.setattr(distances, "appearance_distances", noted)
    monkeypatch.setattr(distances, "frechet_distance", of_unit_variance)
    many = [f"data.train_writers={train_writers}", f"data.num_writers={train_writers + 10}"]
    path = write_copies(tmp_path / "copies", open_corpus(study(*many)).test, are_named=False)
    judge.main(study(*many, f"use_gen={path}"))
    assert sizes == compared


def test_one_training_writer_is_told_from_nobody(smoke: ComposeSmoke) -> None:
    config = smoke("data.train_writers=1", "evaluation.judge_steps=2")
    train.main(judge_arm(config))
    metrics = json.loads((judge.main(config) / "metrics.json").read_text("utf-8"), parse_constant=
                         lambda name: pytest.fail(f"{name} is not JSON"))  # fmt: skip
    assert metrics["judge"]["style_chance"] is None
    # One writer with one image of each character has no pair, and nobody to be mistaken for.
    own = metrics["sources"]["training writers"]
    assert own["diversity"] is own["style_match"] is None


def test_wrong_characters_are_not_readable(study: ComposeSmoke, write_images: Write) -> None:
    path = write_images(name="right")
    listing = read_json(path)
    turned = [*list(listing)[1:], next(iter(listing))]
    wrong = path.parent.parent / "wrong" / "manifest.json"
    wrong.parent.mkdir()
    (wrong.parent / "right").symlink_to(path.parent)
    files = [[f"right/{file}" for file in images] for images in listing.values()]
    write_json(wrong, dict(zip(turned, files, strict=True)))
    sources = read(judge.main(study(f"use_gen=[{path},{wrong}]")))
    right, other = (sources[name]["content_accuracy"] for name in ("right", "wrong"))
    assert right > 0.6
    assert other <= 1 - right


def test_who_had_images_drawn_again_does_not_judge_them(
    study: ComposeSmoke, write_images: Write
) -> None:
    path = write_images(name="redrawn")
    weights = run_folder(study()) / "classifier" / "judge" / "seed_0" / "classifier.safetensors"
    facts: dict[str, Any] = {"writers_seen": [], "redrawn_by": "another"}
    write_json(path.with_name("facts.json"), facts)
    assert "redrawn" in read(judge.main(study(f"use_gen={path}")))
    write_json(path.with_name("facts.json"), facts | {"redrawn_by": file_key(weights)})
    with pytest.raises(InputError, match=r"cannot judge .*redrawn.*drawn again"):
        judge.main(study(f"use_gen={path}"))
    with pytest.raises(InputError, match=r"cannot judge .*redrawn.*drawn again"):
        evaluation.main(study(f"evaluation.manifest={path}", f"evaluation.recognisers=[{weights}]"))


def test_the_studys_own_images_are_found(study: ComposeSmoke, write_images: Write) -> None:
    config = study("name=finds")
    train.main(judge_arm(config))
    home = run_folder(config) / "generated"
    home.mkdir(parents=True)
    for name in ("adain", "adain_clip"):
        write_images(name=name).parent.rename(home / name)
    assert list(read(judge.main(config))) == [
        "training writers", "font renders", "adain", "adain_clip",
    ]  # fmt: skip


def test_generators_of_one_name_are_both_told(study: ComposeSmoke, write_images: Write) -> None:
    one, two = (write_images(name=f"{place}/adain") for place in ("one", "two"))
    three = two.with_name("more.json")
    three.write_bytes(two.read_bytes())
    sources = read(judge.main(study(f"use_gen=[{one},{two},{three}]")))
    assert list(sources)[-3:] == ["adain", str(two.parent), str(three)]


def test_what_has_seen_the_judges_people_is_not_judged(
    study: ComposeSmoke, write_images: Write
) -> None:
    path = write_images(writers=["made"], name="leaked")
    tested = open_corpus(study()).test.present_writers()[0]
    write_json(path.with_name("facts.json"), {"writers_seen": [tested]})
    with pytest.raises(InputError, match=f"has seen {tested}"):
        judge.main(study(f"use_gen={path}"))


def test_without_training_people_nothing_is_said_of_them(study: ComposeSmoke) -> None:
    config = study("name=nobody", "data.people=0")
    train.main(judge_arm(config))
    found = read_json(judge.main(config) / "metrics.json")
    assert found["judge"]["accuracy"] is None
    assert found["sources"]["font renders"]["style_match"] is None


def test_judging_is_not_repeated_until_the_judge_changes(study: ComposeSmoke) -> None:
    config = study("name=again")
    train.main(judge_arm(config))
    done = judge.main(config) / "done.json"
    before = done.stat().st_mtime_ns
    judge.main(config)
    assert done.stat().st_mtime_ns == before
    train.main(judge_arm(study("name=again", "evaluation.judge_steps=4")))
    judge.main(config)
    assert done.stat().st_mtime_ns != before
