"""A study that is run again from its folder: the same in every stage, bit for bit."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ComposeSmoke

import pipeline
from handwriting.config import Config
from handwriting.corpus.corpus import open_corpus
from handwriting.corpus.replay import changes, compare, read_study, record_study
from handwriting.errors import InputError
from handwriting.runs.run import run_folder
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import read_json, write_json


@pytest.mark.slow
def test_a_study_is_the_same_again_in_every_stage(
    smoke: ComposeSmoke, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = smoke(
        "pipeline.generators=[adain_clip,dcgan,vae,cdiffusion]", "pipeline.augmentations=[true]",
        "data.num_simulated_writers=2", "seed=3",
    )  # fmt: skip
    pipeline.main(config)
    folder = run_folder(config)
    # The replay is told of nothing but the folder.
    report = pipeline.main(smoke(f"replay={folder}", runs_dir=tmp_path / "elsewhere"))
    assert report == tmp_path / "elsewhere" / "smoke_replay" / "report.html"
    found = read_json(report.with_name("replay.json"))
    assert (found["different"], found["changed"]) == ([], [])
    weights = {path.relative_to(folder).as_posix() for path in folder.rglob("*.pt")}
    assert len(weights) == 3 + 2 * 4 + 3 + 9  # encoders and CLIP, style transfer, others, arms
    assert found["files"] > 8 * len(weights)
    assert f"all {found['files']} files are the same bit for bit" in capsys.readouterr().out
    # What differs is found: one bit of one weight, one image, one line.
    content = bytearray((folder / "vae/vae.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "vae/vae.pt").write_bytes(content)
    (folder / "generated/dcgan/U+6728/00000.png").unlink()
    (folder / "clip/metrics.jsonl").write_text("")
    assert compare(folder, report.parent)[1] == [
        "clip/metrics.jsonl", "generated/dcgan/U+6728/00000.png", "vae/vae.pt"
    ]  # fmt: skip


@pytest.fixture
def recorded(smoke: ComposeSmoke) -> Config:
    config = smoke("seed=7", "data.characters=休木", "pipeline.generators=[vae]")
    record_study(config, open_corpus(config))
    return config


def test_all_of_the_configuration_is_recorded(recorded: Config) -> None:
    study = read_study(run_folder(recorded))
    assert study.config == recorded
    assert study.facts["versions"].keys() >= {"python", "torch"}
    assert study.facts["data"].keys() == {"train", "validation", "test", "writers", "fonts"}


def test_what_changed_since_is_named(
    recorded: Config, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = run_folder(recorded) / "study.json"
    facts = read_json(path)
    was = facts["data"]["train"]
    facts["data"]["train"], facts["versions"]["torch"], facts["commit"] = "other", "0.1", "c" * 40
    write_json(path, facts)
    ran: list[Config] = []

    def run(config: Config) -> Path:
        ran.append(config)
        return path

    monkeypatch.setattr(pipeline, "main", run)
    pipeline.replay(smoke(f"replay={path.parent}"))
    (config,) = ran
    assert (config.seed, config.name, config.replay) == (7, "smoke_replay", None)
    warned = [s for s in capsys.readouterr().out.splitlines() if s.startswith("warning: ")]
    assert [line.split()[1] for line in warned] == ["commit:", "data", "versions"]
    assert f"data train: other then, {was} now" in warned[1]


def test_times_are_no_outcome(tmp_path: Path) -> None:
    for name, seconds, loss in (("first", 1.0, 0.5), ("second", 2.0, 0.5), ("third", 1.0, 0.4)):
        metrics = {"sources": [{"training_s": seconds, "loss": loss}], "duration_s": seconds}
        write_json(tmp_path / name / "vae" / "metrics.json", metrics)
        for other in ("config.json", "done.json", "report.html", "wandb/run.json"):
            write_text(tmp_path / name / "vae" / other, name)
    assert compare(tmp_path / "first", tmp_path / "second") == (1, [])
    assert compare(tmp_path / "first", tmp_path / "third") == (1, ["vae/metrics.json"])


def test_facts_are_compared_however_deep() -> None:
    before = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert list(changes(before, before)) == []
    assert sorted(changes(before, {"a": {"b": 1, "c": {"d": 5}}})) == [
        "a c d: 2 then, 5 now", "e: 3 then, None now"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no such file: .*study\.json"),
        ("[]", "holds no study: name the folder of one"),
        ('{"config": {"sead": 1}}', r"study\.json is not of this version: .*sead"),
        ('{"config": {"seed": "one"}}', r"study\.json is not of this version: .*one"),
        ('{"config": []}', r"study\.json is not of this version"),
        ('{"config": {"seed": 1}}', "no value for .*name"),
    ],
)
def test_a_folder_that_holds_no_study_is_named(
    content: str | None, message: str, tmp_path: Path, smoke: ComposeSmoke
) -> None:
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    with pytest.raises(InputError, match=message):
        pipeline.main(smoke(f"replay={tmp_path}"))


def test_overrides_beside_a_replay_are_refused(
    recorded: Config, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = SimpleNamespace(overrides=SimpleNamespace(task=["replay=x", "runs_dir=y", "seed=4"]))
    hydra = SimpleNamespace(initialized=lambda: True, get=lambda: given)
    monkeypatch.setattr(pipeline, "HydraConfig", hydra)
    with pytest.raises(InputError, match=r"without \['seed=4'\]"):
        pipeline.main(smoke(f"replay={run_folder(recorded)}"))
