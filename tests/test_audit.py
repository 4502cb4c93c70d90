"""The audit finds a test writer wherever one is smuggled in, and what does not say whom it saw."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import SMOKE, ComposeSmoke, Write, edit_facts, smoke_overrides

from handwriting.config import Config
from handwriting.corpus.audit import audit, writers_seen
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import files_key
from handwriting.images.sheets import save_png
from handwriting.runs.folder import run_folder
from handwriting.runs.weights import load_weights
from handwriting.script import compose
from handwriting.storage.json_files import read_json, write_json
from handwriting.storage.keys import file_key
from training_character_classification import arms, train as train_classifier
from training_character_classification.arms import judge_arm
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_style_transfer import generate_images, train as train_style_transfer

TRAIN, VALIDATES, TESTED = "simulated_0000", "simulated_0002", "simulated_0003"
STEPS = [f"style_transfer/adain/{step}" for step in ("step1", "step2", "step3", "step_end")]
GENERATED = "generated/adain"
CONTROL, FILTERED, JUDGE = (
    f"classifier/{name}/seed_0" for name in ("real+fonts+classical", "filtered", "judge")
)
WEIGHTS = [
    "image_encoder/image_encoder.safetensors",
    "text_encoder/text_encoder.safetensors",
    "clip/clip.safetensors",
    *(f"{step}/{kind}.safetensors" for step in STEPS for kind in ("generator", "discriminator")),
    f"{CONTROL}/classifier.safetensors",
    f"{FILTERED}/classifier.safetensors",
]
STAGES = (
    train_image_encoder, train_text_encoder, train_clip, train_style_transfer, generate_images,
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A study whose recogniser sees generated images that another recogniser has chosen."""

    config: Config
    folder: Path

    def audit(self) -> str:
        return audit(self.config, [str(self.folder / FILTERED)])

    def edit_facts(self, place: str, **facts: object) -> None:
        """Change what a file says, as if it had been made so; None: no longer said."""
        path = self.folder / place
        with self.relinked():
            if path.suffix == ".json":
                said = {**read_json(path), **facts}
                write_json(path, {name: v for name, v in said.items() if v is not None})
            else:
                edit_facts(path, **facts)

    @contextmanager
    def relinked(self) -> Iterator[None]:
        """What is changed inside is taken to have been read by the runs that read the old."""
        before = self.keys()
        yield
        now = self.keys()
        for path in self.folder.rglob("config.json"):
            text = path.read_text("utf-8")
            for file, key in before.items():
                text = text.replace(key, now[file])
            path.write_text(text, "utf-8")

    def keys(self) -> dict[Path, str]:
        weights = {path: file_key(path) for path in self.folder.rglob("*.safetensors")}
        manifests = self.folder.rglob("manifest.json")
        return weights | {path: files_key(read_manifest(path)) for path in manifests}


def filtered(config: Config) -> Config:
    """The arm whose generated images the control has chosen."""
    return replace(
        config,
        use_gen=str(run_folder(config) / GENERATED / "manifest.json"),
        classifier=replace(config.classifier, name="filtered"),
        recipe=replace(config.recipe, by_confusion=True),
    )


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Study:
    """The study, made once."""
    overrides = smoke_overrides(tmp_path_factory.mktemp("line"), cache_dir, "model_mode=adain")
    config = compose(overrides)
    for stage in STAGES:
        stage.main(config)
    control = replace(config.classifier, use_fonts=True)
    for arm in (replace(config, classifier=control), judge_arm(config), filtered(config)):
        train_classifier.main(arm)
    return Study(config, run_folder(config))


@pytest.fixture
def study(line: Study, tmp_path: Path) -> Iterator[Study]:
    """The study, put back afterwards; a copy would not do, its images' keys hold their paths."""
    shutil.copytree(line.folder, tmp_path / "kept")
    yield line
    shutil.rmtree(line.folder)
    shutil.copytree(tmp_path / "kept", line.folder)


def lines(study: Study) -> list[str]:
    """The problems that the audit names."""
    with pytest.raises(InputError) as raised:
        study.audit()
    return [line.strip() for line in str(raised.value).splitlines()[1:-1]]


# What is behind a recogniser ----------------------------------------------------------------------


def test_a_clean_study_passes_with_all_that_is_behind_its_recogniser(line: Study) -> None:
    clean = "no test writer seen; names from simulation"
    num_weights = len(WEIGHTS) + 2  # the reader of strokes that ships and its judge
    assert line.audit() == f"audit: {num_weights} weights, 1 manifests, {clean}"
    weights = line.folder / CONTROL / "classifier.safetensors"
    assert audit(line.config, [weights]) == f"audit: 1 weights, 0 manifests, {clean}"


def test_every_stage_says_whom_it_saw(line: Study) -> None:
    corpus = open_corpus(line.config)
    everyone = {*corpus.train.present_writers(), *corpus.fonts.present_writers()}
    for place in [place for place in WEIGHTS if not place.startswith("classifier")]:
        seen = load_weights(line.folder / place, Path(place).stem).facts["writers_seen"]
        assert set(seen) == (set() if place.startswith("text_encoder") else everyone), place
    assert set(read_json(line.folder / GENERATED / "facts.json")["writers_seen"]) == everyone


@pytest.mark.parametrize("place", [*WEIGHTS, f"{GENERATED}/facts.json"])
def test_whoever_was_seen_is_named_with_the_place(place: str, study: Study) -> None:
    seen = [TRAIN, VALIDATES, TESTED]
    study.edit_facts(place, writers_seen=seen)
    name = place.replace("facts.json", "manifest.json")
    (found,) = lines(study)
    assert found.startswith(f"{name}: has seen {VALIDATES} (validation), {TESTED} (test)")
    study.edit_facts(place, writers_seen=None)
    (found,) = lines(study)
    assert found.startswith(f"{study.folder / place}: writers_seen is missing")


def test_generated_images_in_the_hand_of_a_test_writer_are_named(study: Study) -> None:
    path = study.folder / GENERATED / "writers.json"
    writers = read_json(path)
    with study.relinked():
        write_json(path, {**writers, next(iter(writers)): TESTED})
    name = f"{GENERATED}/manifest.json"
    assert lines(study) == [f"{name}: has seen {TESTED} (test); read by {FILTERED}"]


def test_what_an_encoder_saw_is_seen_by_all_that_is_made_from_it(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    wider = replace(study.config.data, train_writers=4, num_writers=6)
    train_image_encoder.main(replace(study.config, data=wider))
    for stage in STAGES[2:]:
        stage.main(study.config)
    with pytest.raises(InputError, match=f"{GENERATED}/manifest.json: .*\n.*has seen {VALIDATES}"):
        train_classifier.main(filtered(study.config))
    monkeypatch.setattr(arms, "check_new", lambda *_: None)
    train_classifier.main(filtered(study.config))
    found = "\n".join(lines(study))
    generators = [f"{step}/generator.safetensors" for step in STEPS]
    for place in ("image_encoder/image_encoder.safetensors", "clip/clip.safetensors", *generators,
                  f"{GENERATED}/manifest.json"):  # fmt: skip
        assert f"{place}: has seen {VALIDATES} (validation), {TESTED} (test)" in found


def test_who_reads_the_judge_is_named(study: Study) -> None:
    path = study.folder / FILTERED / "config.json"
    facts = read_json(path)
    facts["inputs"]["control"] = [file_key(study.folder / JUDGE / "classifier.safetensors")]
    write_json(path, facts)
    people = f"{VALIDATES} (validation), {TESTED} (test), simulated_0004 (test)"
    name = f"{JUDGE}/classifier.safetensors"
    assert lines(study) == [f"{name}: has seen {people}; read by {FILTERED}"]


def test_who_had_images_drawn_again_is_followed(study: Study) -> None:
    redrawing = replace(study.config.generation, redraw="real+fonts+classical")
    config = replace(study.config, generation=redrawing)
    generate_images.main(config)
    arm = "classifier/real+adain+classical/seed_0"
    use_gen = str(study.folder / GENERATED / "manifest.json")
    train_classifier.main(replace(config, use_gen=use_gen))
    recogniser = f"{CONTROL}/classifier.safetensors"
    audit(config, [study.folder / arm])
    study.edit_facts(recogniser, writers_seen=[TRAIN, TESTED])
    with pytest.raises(InputError) as caught:
        audit(config, [study.folder / arm])
    assert f"{recogniser}: has seen {TESTED} (test); read by {GENERATED}" in str(caught.value)


def test_what_is_not_of_the_study_is_named(study: Study) -> None:
    (key,) = read_json(study.folder / FILTERED / "config.json")["inputs"]["generated"]
    first, second = sorted((study.folder / GENERATED).glob("*/*.png"))[:2]
    shutil.copy(first, second)
    assert lines(study) == [f"{FILTERED}: read generated {key}, which is not from this study"]


@pytest.mark.parametrize(
    ("place", "readers"),
    [("clip/clip.safetensors", [f"{step}: read clip" for step in STEPS]),
     (f"{CONTROL}/classifier.safetensors", [f"{FILTERED}: read control"])],
)  # fmt: skip
def test_weights_that_are_not_those_that_were_read_are_named(
    place: str, readers: list[str], study: Study
) -> None:
    path = study.folder / place
    key = file_key(path)
    edit_facts(path, seed=77)
    assert lines(study) == [f"{reader} {key}, which is not from this study" for reader in readers]


def test_a_run_that_is_not_finished_is_named(study: Study) -> None:
    (study.folder / "clip" / "done.json").unlink()
    done = study.folder / CONTROL / "done.json"
    write_json(done, {**read_json(done), "key": "another"})
    assert sorted(lines(study)) == [f"{CONTROL}: not finished", "clip: not finished"]


@pytest.mark.parametrize("stage", [train_clip, train_style_transfer])
def test_weights_say_whom_they_saw_before_anything_is_trained_with_them(
    stage: ModuleType, study: Study, tmp_path: Path
) -> None:
    study.edit_facts("image_encoder/image_encoder.safetensors", writers_seen=None)
    config = replace(
        study.config,
        runs_dir=str(tmp_path / "new"),
        image_weight=str(study.folder / "image_encoder"),
        text_weight=str(study.folder / "text_encoder"),
        clip_weight=str(study.folder / "clip"),
    )
    with pytest.raises(InputError, match=r"image_encoder.safetensors: writers_seen is missing"):
        stage.main(config)
    assert not run_folder(config).exists()


# Images -------------------------------------------------------------------------------------------


@pytest.fixture
def people(smoke: ComposeSmoke, write_images: Write) -> Config:
    return smoke("data=manifest", f"data.manifest={write_images()}", "data.num_simulated_writers=2")


@pytest.mark.parametrize(
    ("kind", "is_named"), [("writers", True), ("simulated", True), ("fonts", False)]
)
def test_a_test_image_that_is_another_hands_too_is_named(
    kind: str, is_named: bool, people: Config
) -> None:
    audit(people, [])
    corpus = open_corpus(people)
    source = corpus.sources[kind]
    (writer, *_) = corpus.test.present_writers()
    copied = source.select(np.flatnonzero(source.labels == SMOKE.index("木"))[:1])
    assert people.data.manifest is not None
    path = Path(people.data.manifest)
    save_png(path.parent / f"U+6728/{writer}.png", copied.images[0])
    path.touch()  # otherwise the corpus is taken to be as it was
    if not is_named:
        audit(people, [])
        return
    (name,) = copied.present_writers()
    same = f"木 by {writer} in test.* is the same picture as 木 by {name}"
    if kind == "simulated":
        same = f"木 by {name} in simulated is the same picture as 木 by {writer} in test"
    with pytest.raises(InputError, match=same):
        audit(people, [])


def test_people_in_two_splits_are_named(people: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = open_corpus(people)
    both = replace(corpus, validation=corpus.test)
    monkeypatch.setattr("handwriting.corpus.audit.open_corpus", lambda _: both)
    with pytest.raises(InputError) as caught:
        audit(people, [])
    for name in corpus.test.present_writers():
        assert f"{name} is in validation and in test" in str(caught.value)


def test_test_images_of_nobody_known_are_not_called_unseen(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    manifests = []
    for number, key in enumerate(("manifest", "validation_manifest", "test_manifest")):
        path = write_images(writers=["one", "two", "three"], name=key)
        write_json(path, {c: [files[number]] for c, files in read_json(path).items()})
        manifests.append(f"data.{key}={path}")
    config = smoke("data=manifest", *manifests)
    assert writers_seen(open_corpus(config).train) == []
    assert audit(config, []) == (
        "audit: 0 weights, 0 manifests, no named test writer seen, no copy of a test image without "
        "a writer; names from one manifest per split (train -, validation -, test -)"
    )
