"""The whole line at toy sizes: runs to its report, runs nothing twice, goes on after a stop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from conftest import SMOKE, WRITERS, ComposeSmoke, Write, begun, edit_facts, smoke_overrides

import evidence
import pipeline
from generators import GENERATORS
from handwriting.config import Config
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.overrides import refuse
from handwriting.runs.folder import run_folder
from handwriting.runs.weights import load_weights, save_weights
from handwriting.script import compose
from handwriting.storage.json_files import read_json, write_json
from handwriting.storage.stamps import stamp
from pipeline import study_arms
from training_character_classification.arms import arm_of
from training_clip import train_image_encoder
from training_style_transfer import generate_images

ONE_MODE = "pipeline.generators=[adain]"
ENCODERS = ["image_encoder", "text_encoder", "clip"]
STEPS = [f"style_transfer/adain/{step}" for step in ("step1", "step2", "step3", "step_end")]
ARMS = [
    f"classifier/{sees}{augmented}/seed_0"
    for sees in ("real", "real+fonts", "real+adain")
    for augmented in ("", "+classical")
]
JUDGE = "classifier/judge/seed_0"
CONTROLS, GENERATED = ARMS[:4], ARMS[4:]
BEFORE = [*ENCODERS, *STEPS, JUDGE, *CONTROLS]  # images are generated
STAGES = [*BEFORE, "generated/adain", "judge", *GENERATED, "test"]


def stamps(folder: Path, stages: Sequence[str] = STAGES) -> dict[str, int]:
    """When each file that a stage hands on was written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for stage in stages
        for path in (folder / stage).rglob("*")
        if path.is_file()
    }


@dataclass(frozen=True)
class Study:
    """A finished study, and how it got there."""

    config: Config
    folder: Path
    stopped: list[str]  # stages that the first call began; it was stopped in the last one
    kept: dict[str, int]  # files of the finished ones
    resumed: list[str]  # stages that the second call began
    report: Path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Study:
    """The smoke study with one generator, stopped while images are generated, then finished."""
    config = compose(smoke_overrides(tmp_path_factory.mktemp("runs"), cache_dir, ONE_MODE))
    folder = run_folder(config)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with begun() as stopped, pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate_images, "mix", stop)
        with pytest.raises(KeyboardInterrupt):
            pipeline.main(config)
    kept = stamps(folder, stopped[:-1])
    with begun() as resumed:
        report = pipeline.main(config)
    return Study(config, folder, stopped, kept, resumed, report)


def test_the_line_ends_with_the_report_and_its_figures(study: Study) -> None:
    assert study.report == study.folder / "report.html"
    assert "real+adain+classical" in study.report.read_text("utf-8")
    metrics = read_json(study.folder / "metrics.json")
    arms = {name.split("/")[1] for name in ARMS}
    assert metrics["arms"].keys() == arms
    assert metrics["is_real"] is False
    assert metrics["best_control"] in {name for name in arms if "adain" not in name}
    assert metrics["gains_per_character"]["gains"].keys() == set(SMOKE)
    assert metrics["sources"].keys() == {"training writers", "font renders", "adain"}
    assert metrics["duration_s"].keys() == set(STAGES)


def test_a_stopped_line_goes_on_where_it_stopped(study: Study) -> None:
    assert study.stopped == [*BEFORE, "generated/adain"]
    assert study.resumed == STAGES[len(BEFORE) :]
    assert len(study.kept) > 3 * len(BEFORE)
    assert stamps(study.folder, study.stopped[:-1]) == study.kept


def test_no_weights_but_the_judges_have_seen_a_test_writer(study: Study) -> None:
    corpus = open_corpus(study.config)
    tested = set(corpus.test.present_writers())
    seen: dict[str, set[str]] = {}
    for path in study.folder.rglob("*.safetensors"):
        facts = load_weights(path, path.stem).facts
        name = path.relative_to(study.folder).parent.as_posix()
        seen[name] = set(facts["writers_seen"])
    assert seen.keys() == {*ENCODERS, *STEPS, JUDGE, *ARMS}
    assert [name for name, writers in seen.items() if writers & tested] == [JUDGE]
    generated = read_manifest(study.folder / "generated" / "adain" / "manifest.json")
    trained = {*corpus.train.present_writers(), *corpus.fonts.present_writers()}
    assert set(generated.writers) <= trained


def test_a_control_has_what_it_misreads_drawn_again(smoke: ComposeSmoke) -> None:
    control = "real+fonts+classical"
    config = smoke(
        "pipeline.generators=[vae]", f"pipeline.arms=[{control},real+vae]",
        f"generation.redraw={control}",
    )  # fmt: skip
    report = pipeline.main(config)
    made = read_json(run_folder(config) / "generated" / "vae" / "metrics.json")
    assert made["num_misread"] > made["num_still_misread"]
    found = read_json(report.with_name("metrics.json"))["sources"]
    assert found["vae"]["misread"] == made["num_misread"] / made["num_images"]
    assert found["vae"]["still_misread"] == made["num_still_misread"] / made["num_images"]
    assert "share that it still misreads" in report.read_text("utf-8")
    assert "misread" not in found["training writers"]
    with begun() as stages:
        GENERATORS["vae"].generate(config)  # by the same name alone
        pipeline.main(config)
    assert stages == []


@pytest.mark.parametrize("named", ["real+vae", "judge", "real+fonts", "nowhere"])
def test_only_a_control_of_the_study_or_weights_may_have_images_drawn_again(
    named: str, smoke: ComposeSmoke
) -> None:
    config = smoke(
        "pipeline.generators=[vae]", "pipeline.arms=[real,real+vae]", f"generation.redraw={named}"
    )
    with begun() as stages, pytest.raises(InputError, match=r"generation.redraw=.*there are: real"):
        pipeline.main(config)
    assert stages == []


def test_nothing_is_tested_when_a_test_writer_was_seen(study: Study) -> None:
    pipeline.main(study.config)
    path = study.folder / ARMS[0] / "classifier.safetensors"
    kept = path.read_bytes()
    edit_facts(path, writers_seen=open_corpus(study.config).test.present_writers())
    done = path.with_name("done.json")
    before = read_json(done)
    write_json(done, {**before, "outputs": {**before["outputs"], path.name: stamp(path)}})
    try:
        with (
            begun() as stages,
            pytest.raises(InputError, match=rf"{ARMS[0]}.* has seen .* \(test\)"),
        ):
            pipeline.main(study.config)
    finally:
        path.write_bytes(kept)
        write_json(done, before)
    assert stages == []


def test_the_study_is_this_process_alone_until_its_report(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    monkeypatch.setattr(
        pipeline.test, "main", lambda _: held.append((study.folder / "lock").is_file())
    )
    pipeline.main(study.config)
    assert held == [True]
    assert not (study.folder / "lock").exists()


def test_a_second_call_runs_nothing(study: Study) -> None:
    pipeline.main(study.config)
    before = stamps(study.folder)
    with begun() as stages:
        pipeline.main(study.config)
    assert stages == []
    assert stamps(study.folder) == before


def test_an_override_runs_only_what_depends_on_it(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.main(study.config)
    upstream = [*ENCODERS, *STEPS, "generated/adain"]
    before = stamps(study.folder, upstream)
    settings = replace(study.config.classifier, num_steps=4)
    with begun() as stages:
        pipeline.main(replace(study.config, classifier=settings))
    assert stages == [*CONTROLS, *GENERATED, "test"]
    said = capsys.readouterr().out
    assert "[smoke] classifier.num_steps 10 -> 4: replaces the report of 20" in said
    for stage in [*CONTROLS, *GENERATED]:
        assert f"[{stage}] re-running, classifier.num_steps 10 -> 4: replaces the result" in said
    assert stamps(study.folder, upstream) == before
    confusions = replace(study.config.evaluation, num_confusions=9)
    with begun() as stages:
        pipeline.main(replace(study.config, classifier=settings, evaluation=confusions))
    assert stages == ["test"]


def test_the_line_runs_on_a_manifest(
    smoke: ComposeSmoke, write_images: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_images()
    config = smoke(
        "data=manifest", f"data.manifest={path}", "data.num_simulated_writers=2", ONE_MODE,
        "pipeline.augmentations=[false]",
    )  # fmt: skip
    page = pipeline.main(config).read_text("utf-8")
    metrics = read_json(run_folder(config) / "metrics.json")
    assert metrics["is_real"] is True
    assert metrics["arms"].keys() == {
        "real", "real+fonts", "real+simulated", "real+fonts+simulated", "real+adain",
    }  # fmt: skip
    assert metrics["sources"].keys() == {
        "training writers (real)", "font renders", "simulated", "adain",
    }  # fmt: skip
    assert "stand in for people" not in page
    assert "audit: 18 weights, 1 manifests, no test writer seen" in capsys.readouterr().out
    corpus = open_corpus(config)
    writers = {name: getattr(corpus, name).present_writers() for name in ("train", "test")}
    assert [len(people) for people in writers.values()] == [2, 2]
    assert set(writers["train"]) | set(writers["test"]) < set(WRITERS)


# The arms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("simulated", [0, 3])
def test_arms_are_sources_times_augmentation_times_seeds(
    simulated: int, smoke: ComposeSmoke
) -> None:
    config = smoke("pipeline.seeds=[0,1,7]", f"data.num_simulated_writers={simulated}")
    sees = ["real", "real+fonts", *(f"real+{name}" for name in GENERATORS)]
    sees += ["real+simulated", "real+fonts+simulated"] if simulated else []
    expected = {
        (f"{source}{'+classical' if augmented else ''}", seed)
        for source, augmented, seed in product(sees, (False, True), (0, 1, 7))
    }
    found = [(str(arm_of(arm)), arm.seed) for arm in study_arms(config)]
    assert len(found) == len(expected)
    assert set(found) == expected


@pytest.mark.parametrize("name", ["adain_mlp", "dcgan", "vae", "cdiffusion"])
def test_generators_that_cannot_draw_unseen_characters_are_named_before_anything_runs(
    name: str, smoke: ComposeSmoke
) -> None:
    config = smoke(f"pipeline.generators=[adain,{name}]", "data.unseen_characters=1")
    with pytest.raises(InputError, match=f"unseen_characters=1: {name} can draw only"):
        pipeline.main(config)
    assert not run_folder(config).exists()


@pytest.mark.parametrize("key", ["generators", "seeds", "augmentations"])
def test_nothing_to_compare_is_named_before_anything_runs(key: str, smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match=rf"pipeline.{key}=\[\]"):
        pipeline.main(smoke(f"pipeline.{key}=[]"))
    assert not run_folder(smoke()).exists()


@pytest.mark.parametrize(
    "override",
    [
        "step_type=step2", "gen_weight=a", "disc_weight=b", "use_gen=c", "generation.output=d",
        "evaluation.recognisers=[e]", "evaluation.manifest=f", "classifier.use_fonts=true",
        "classifier.name=g", "model_mode=adain",
    ],
)  # fmt: skip
def test_what_a_study_sets_itself_is_refused_whoever_sets_it(
    override: str, smoke: ComposeSmoke
) -> None:
    key = override.partition("=")[0]
    for main in (pipeline.main, evidence.main):
        with pytest.raises(InputError, match=f"settings without effect.*\n  {key}: "):
            main(smoke(override))
    assert not run_folder(smoke()).exists()


IGNORED = [
    (["pipeline.generators=[vae]"], ["cdiffusion", "dcgan", "clip", "aug", "clip_weight"]),
    (["pipeline.generators=[adain]"], ["vae.dim"]),
    (["pipeline.generators=[cdiffusion]"], ["style_transfer", "image_weight", "structure"]),
    (["pipeline.generators=[]", "pipeline.arms=[real]"], ["generation", "pipeline.augmentations"]),
    (["clip_weight=a"], ["text_weight", "text_encoder.num_steps", "clip.num_steps"]),
    (["clip_weight=a", "image_weight=b"], ["image_encoder", "aug"]),
    ([], ["evidence.people", "model_mode"]),
]


@pytest.mark.parametrize(("overrides", "idle"), IGNORED)
def test_keys_that_no_stage_of_the_study_reads_are_known(
    overrides: list[str], idle: list[str], smoke: ComposeSmoke
) -> None:
    found = pipeline.ignored(smoke(*overrides))
    for key in idle:
        with pytest.raises(InputError, match=rf"1 problem.*\n  {key}: "):
            refuse([key], found)
    refuse(["seed", "classifier.num_steps", "data.people", "recipe.by_confusion"], found)


def test_what_a_grid_sets_for_its_cells_is_refused(smoke: ComposeSmoke) -> None:
    config = smoke("evidence.people=[1]", "evidence.recipes={}")
    keys = ["seed", "data.people", "data.rotation", "pipeline.seeds", "vae.dim"]
    with pytest.raises(InputError, match="5 problem"):
        refuse([*keys, "cdiffusion.dim", "evidence.people", "data.split_seed"],
               evidence.ignored(config))  # fmt: skip
    for override in ("data.people=2", "data.rotation=1"):
        with pytest.raises(InputError, match=r"evidence\.(people|seeds)"):
            evidence.main(smoke(override))


def test_weights_from_elsewhere_take_the_place_of_encoders(
    trained: Path, smoke: ComposeSmoke
) -> None:
    home, arms = trained / "smoke", "pipeline.arms=[real,real+adain]"
    given = [f"{kind.split('_')[0]}_weight={home / kind}" for kind in ENCODERS]
    for weights, stages in ((given[:2], ["clip"]), (given[::2], [])):
        config = smoke(ONE_MODE, arms, f"name=given_{len(stages)}", *weights)
        with begun() as begins:
            pipeline.main(config)
        assert [stage for stage in begins if stage in ENCODERS] == stages


@pytest.mark.parametrize("key", ["image_weight", "text_weight", "clip_weight", "cdiffusion.start"])
def test_weights_that_saw_a_test_writer_are_refused_before_anything_is_trained(
    key: str, tmp_path: Path, smoke: ComposeSmoke
) -> None:
    kind = {"clip_weight": "clip", "cdiffusion.start": "cdiffusion"}.get(
        key, key.replace("weight", "encoder")
    )
    config = smoke(f"{key}={tmp_path / kind}")
    test_writer = open_corpus(config).test.present_writers()[0]
    facts = {"characters": list(SMOKE), "writers_seen": [test_writer]}
    save_weights(tmp_path / kind / f"{kind}.safetensors", kind, {"size_px": 16}, facts, {})
    with begun() as stages, pytest.raises(InputError, match=f"has seen {test_writer}"):
        pipeline.main(config)
    assert stages == []


def test_every_generator_is_trained_and_used(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[str, Any]] = []

    def noted(name: str) -> Callable[..., Path]:
        def main(config: Config, *_: object) -> Path:
            calls.append((name, config))
            return tmp_path / name

        return main

    for name, row in GENERATORS.items():
        calling = replace(row, train=noted(f"train {name}"), generate=noted(name))
        monkeypatch.setitem(GENERATORS, name, calling)
    for name in ("train_image_encoder", "train_text_encoder", "train_clip", "train_classifier",
                 "judge", "test"):  # fmt: skip
        monkeypatch.setattr(getattr(pipeline, name), "main", noted(name))
    monkeypatch.setattr(pipeline, "write_study_report", noted("report"))
    monkeypatch.setattr(pipeline, "audit", lambda *_: "")
    pipeline.main(smoke(f"pipeline.generators=[{','.join(GENERATORS)}]"))
    of = {name: [config for called, config in calls if called == name] for name, _ in calls}
    order = [name for name, _ in calls]
    for name, row in GENERATORS.items():
        (trained,), (generated,) = of[f"train {name}"], of[name]
        assert trained == generated
        assert row.mode in (None, trained.model_mode)
        assert order.index("train_clip") < order.index(f"train {name}") < order.index(name)
        assert order.index(name) < order.index("judge")
    assert of["judge"][0].use_gen == [str(tmp_path / name / "manifest.json") for name in GENERATORS]
    folder = tmp_path / "runs" / "smoke" / "generated"
    own = [[str(folder / name / "manifest.json")] for name in GENERATORS]
    used = [c.use_gen for c in of["train_classifier"] if c.use_gen]
    assert [use_gen for use_gen in own if used.count(use_gen) == 2] == own
    assert len(used) == 2 * len(own)
    assert len(of["test"][0].evaluation.recognisers) == 2 * (2 + len(GENERATORS))
    assert order[-2:] == ["test", "report"]
    judge_first = [c.classifier.name for c in of["train_classifier"]].index("judge")
    assert order.index("train_classifier") + judge_first < order.index("judge")


# Tracking -----------------------------------------------------------------------------------------


def test_offline_tracking_writes_a_run_that_can_be_sent_later(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wandb = pytest.importorskip("wandb")
    for name in ("CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "wandb"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # were it to send, it would fail
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    try:
        folder = train_image_encoder.main(smoke("tracking=offline", "image_encoder.num_steps=3"))
    except wandb.errors.Error as error:
        pytest.skip(f"wandb cannot start here: {error}")
    wandb.teardown()  # a finished run may not be on the disk yet; at the latest at exit it is
    (run,) = (folder / "wandb").glob("offline-run-*")
    (written,) = run.glob("*.wandb")
    content = written.read_bytes()
    assert b"validation_top1" in content
    assert b"image_encoder" in content
    assert b"loss" in content
