"""The experiment at its smallest: cells are studies, done once, and gathered whatever is there."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ComposeSmoke, Write, begun, smoke_overrides

import evidence
from handwriting.config import Config
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.runs.folder import run_folder
from handwriting.runs.weights import load_weights
from handwriting.script import compose
from handwriting.storage.json_files import read_json
from training_character_classification import test

GRID = [
    "evidence.arms=[real,real+fonts+classical,real+fonts+vae+classical]",
    "evidence.named_arm=real+fonts+vae+classical", "evidence.recipe_people=[1]",
    "+evidence.recipes.soft={by_confusion: true}",
    "evidence.people=[1]", "evidence.seeds=[0,1]",
]  # fmt: skip
ARMS = ["real", "real+fonts+classical", "real+fonts+vae+classical", "real+fonts+vae+classical@soft"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Config:
    return compose(smoke_overrides(tmp_path_factory.mktemp("runs"), cache_dir, *GRID))


@pytest.fixture(scope="module")
def report(config: Config) -> Path:
    return evidence.main(config)


@pytest.mark.slow
def test_the_smallest_experiment_ends_with_its_report(config: Config, report: Path) -> None:
    folder = run_folder(config)
    assert report == folder / "report.html"
    assert all((folder / name).is_file() for name in ("table.txt", "metrics.json", "results.json"))
    table = (folder / "table.txt").read_text("utf-8")
    assert all(arm in table for arm in ARMS)
    for seed in (0, 1):
        tested = read_json(folder / f"seed_{seed}" / "people_1" / "test" / "metrics.json")
        assert set(tested["recognisers"]) == {f"{arm}/seed_{seed}" for arm in ARMS}


@pytest.mark.slow
def test_each_cell_learns_from_its_own_people_alone(config: Config, report: Path) -> None:
    trained, tested = set(), set()
    for seed in (0, 1):
        cell = evidence.cell(config, seed, people=1)
        corpus = open_corpus(cell)
        vae = load_weights(run_folder(cell) / "vae", "vae")
        people = {name for name in vae.facts["writers_seen"] if name.startswith("simulated")}
        assert people == set(corpus.train.present_writers())
        assert len(people) == 1
        assert not people & set(corpus.test.present_writers())
        trained |= people
        tested |= set(corpus.test.present_writers())
    assert len(trained) == 2
    assert len(tested) > len(corpus.test.present_writers())


@pytest.mark.slow
def test_nothing_runs_twice_and_seeds_can_be_added(config: Config, report: Path) -> None:
    with begun() as stages:
        evidence.main(config)
    assert stages == []
    more = replace(config, evidence=replace(config.evidence, seeds=[0, 2]))
    with begun() as stages:
        evidence.main(more)
    assert "classifier/real/seed_2" in stages
    assert not any(stage.endswith("seed_0") for stage in stages)


@pytest.mark.slow
def test_stored_results_are_reported_without_a_run(
    config: Config, report: Path, smoke: ComposeSmoke
) -> None:
    grid = replace(config.evidence, seeds=[], results=[str(report.with_name("results.json"))])
    with begun() as stages:
        again = evidence.main(replace(config, name="again", evidence=grid))
    assert stages == []
    stored, found = (read_json(path.with_name("metrics.json")) for path in (report, again))
    assert all(found[part] == stored[part] for part in ("arms", "groups"))
    read = {(each["arm"], each["people"]): each["read"] for each in stored["groups"]}
    for each in stored["groups"]:
        control = read[stored["control"], each["people"]]
        for group, (gain, _) in each["gains"].items():
            assert gain == pytest.approx(each["read"][group] - control[group], abs=1e-9)
    assert found["best_generated"] == stored["best_generated"]


@pytest.mark.slow
def test_controls_alone_need_no_generator(smoke: ComposeSmoke) -> None:
    arms = "real+fonts+classical,real+fonts+simulated+classical"
    config = smoke(
        f"evidence.arms=[{arms}]", "evidence.people=[1]", "evidence.seeds=[0]",
        "data.num_simulated_writers=2", "pipeline.num_workers=1", "evidence.named_arm=null",
    )  # fmt: skip
    with begun() as stages:
        evidence.main(config)
    assert {stage.split("/")[0] for stage in stages} == {"classifier", "test"}
    cell = run_folder(config) / "seed_0" / "people_1"
    assert "No generator takes part" in (cell / "report.html").read_text("utf-8")
    found = read_json(run_folder(config) / "metrics.json")
    assert "real+fonts+simulated+classical" in str(found)


@pytest.mark.slow
def test_a_recogniser_without_real_images_reads_more_than_anybody_wrote(
    smoke: ComposeSmoke, write_images: Write
) -> None:
    written = write_images("木林")
    tested = write_images("木あシ", ["person_anna", "person_ben"], name="diary")
    config = smoke(
        "data=manifest", f"data.manifest={written}", f"+data.tests.diary={tested}",
        "data.partial=true", "data.num_simulated_writers=2", "evidence.people=[2]",
        "evidence.seeds=[0]", "evidence.arms=[fonts+classical,fonts+simulated+warped+classical]",
        "evidence.control=fonts+classical", "evidence.named_arm=null",
        "classifier.embedding_dim=16",
    )  # fmt: skip
    evidence.main(config)
    for each in read_json(run_folder(config) / "results.json"):
        shown = {name: own["characters"] for name, own in each["writers"].items()}
        assert shown["diary:person_anna"] == shown["diary:person_ben"] == "木あシ"
        assert {*shown.values()} == {"木あシ", "木林"}
        own = each["writers"]["diary:person_anna"]
        assert own["shown"] == [1, 1, 1]
        assert all(a <= b for a, b in zip(own["right"], own["in_script"], strict=True))
    page = (run_folder(config) / "report.html").read_text("utf-8")
    assert "diary:person_anna" in page
    assert "hiragana" in page


@pytest.mark.slow
def test_results_on_other_images_are_kept_apart_and_other_settings_told(
    config: Config, report: Path, write_images: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = evidence.cell(config, seed=0, people=1)
    tested = run_folder(cell) / "test" / "results.json"
    before = tested.read_bytes()
    other = replace(config.evaluation, manifest=str(write_images("木林")))
    assert test.main(replace(cell, evaluation=other)).name == "test_manifest"
    assert tested.read_bytes() == before
    evidence.main(config)
    assert "other settings" not in capsys.readouterr().out
    longer = replace(config.classifier, num_steps=config.classifier.num_steps + 1)
    only = replace(config.evidence, seeds=[], results=[str(tested)])
    evidence.main(replace(config, classifier=longer, evidence=only))
    told = capsys.readouterr().out
    assert "seed_1/people_1 was made with other settings: classifier.num_steps" in told
    assert "Made with other settings" in report.read_text("utf-8")


def test_stored_results_are_checked_before_they_are_reported(
    smoke: ComposeSmoke, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    config = smoke(*GRID[:-1], "evidence.seeds=[]", f"evidence.results=[{path}]")
    for text, message in (
        ("[]", "no recogniser of evidence.arms has been tested: real, real"),
        ('{"arm": "real"}', "expected the results.json of a run"),
        ('[{"arm": "real"}]', "expected the results.json of a run"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message) as raised:
            evidence.main(config)
        assert "Delete" not in str(raised.value)


def test_a_cell_is_a_study_with_the_generators_that_its_arms_name(smoke: ComposeSmoke) -> None:
    config = smoke("evidence.arms=[real,real+fonts+classical,real+dcgan+vae]", *GRID[1:])
    cell = evidence.cell(config, seed=3, people=1)
    assert cell.name == "smoke/seed_3/people_1"
    assert (cell.seed, cell.data.rotation, cell.data.people) == (3, 3, 1)
    assert cell.pipeline.generators == ["dcgan", "vae"]
    assert cell.pipeline.arms == [*config.evidence.arms, "real+fonts+vae+classical@soft"]
    assert "real+fonts+vae+classical@soft" not in evidence.cell(config, 3, people=2).pipeline.arms


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evidence.control=real+simulated"], "control=real\\+simulated: not among evidence.arms"),
        (["evidence.named_arm=real+vae"], "named_arm=real\\+vae: not among evidence.arms"),
        (["evidence.seeds=[]"], "seeds=\\[\\]: nothing runs, so name what to report"),
        (["evidence.people=[4]"], "data.people=4: expected at most the 2 training writers"),
        (
            ["evidence.arms=[real+fonts+classical,real+gan]", "evidence.named_arm=null"],
            "arm 'real\\+gan': expected",
        ),
        (["++evidence.recipes.top={keep: 1}"], "evidence.recipes.top: Key 'keep'"),
        (["++evidence.recipes.top={gen_ratio: 1.5}"], "top.*\n  gen_ratio=1.5: expected 0 to 1"),
        (["++evidence.recipes.top={by_confusion: best}"], "evidence.recipes.top: Value 'best'"),
    ],
)
def test_what_cannot_be_run_is_named_first(
    overrides: list[str], message: str, smoke: ComposeSmoke
) -> None:
    with begun() as stages, pytest.raises(InputError, match=message):
        evidence.main(smoke(*GRID, "pipeline.num_workers=1", *overrides))
    assert stages == []
