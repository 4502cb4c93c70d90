"""The reports of a study and of the evidence: what is read, said, drawn and written."""

import base64
import html
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import SMOKE, ComposeSmoke, Write
from matplotlib.figure import Figure
from PIL import Image
from test_results import PEOPLE, better, reader, recogniser

from handwriting.config import Config, Evidence
from handwriting.errors import InputError
from handwriting.reports.page import Picture, Section, text_table, write_report
from handwriting.runs.folder import run_folder
from handwriting.storage.json_files import read_json, write_json
from training_character_classification.arms import Arm
from training_character_classification.measures.table import OUTSIDE, TITLES
from training_character_classification.report import plots
from training_character_classification.report.comparison import read_sources
from training_character_classification.report.evidence import read_cells, write_evidence_report
from training_character_classification.report.results import (
    Results,
    compare,
    results_of,
    write_results,
)
from training_character_classification.report.sections import STAND_IN
from training_character_classification.report.study import sample_sheets, write_study_report

CONTROL, NAMED, OTHER = "real+fonts", "real+fonts+vae", "vae"
EVIDENCE = Evidence(
    arms=["real", CONTROL, NAMED, OTHER], control=CONTROL, people=[1, 5], seeds=[0, 1],
    named_arm=NAMED, recipe_people=[1], recipes={"top": {"by_confusion": True}},
)  # fmt: skip
MEASURED = {name: 0.125 * (i + 1) for i, name in enumerate(TITLES)} | {"style_match": None}


class Page:
    """What a page shows, and what it would fetch or run."""

    def __init__(self, path: Path) -> None:
        body = path.read_text("utf-8").split("</style>")[1]
        self.text = html.unescape(re.sub(r"<[^>]*>", "", body))
        self.tags = set(re.findall(r"<(\w+)", body))
        addresses = re.findall(r'\b(?:src|href|srcset|data|action|poster)="([^"]*)"', body)
        pictures = [link for link in addresses if link.startswith("data:image/png;base64,")]
        self.links = [link for link in addresses if link not in pictures]
        self.pictures = [
            base64.b64decode(link.partition(",")[2], validate=True) for link in pictures
        ]
        self.tables: dict[str, list[list[str]]] = {}  # under their headings
        for heading, part in re.findall(r"<h2>(.*?)</h2>(.*?)(?=<h2>|$)", body, re.DOTALL):
            rows = re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)
            cells = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in rows]
            self.tables[heading] = [[html.unescape(cell) for cell in row] for row in cells]

    def rows(self, heading: str) -> dict[str, dict[str, str]]:
        """A table: name of the row -> column -> cell."""
        columns, *rows = self.tables[heading]
        return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


# A study ------------------------------------------------------------------------------------------


@pytest.fixture
def study(smoke: ComposeSmoke) -> Callable[..., Config]:
    """A study of one generator with the results of some recognisers."""

    def written(*recognisers: Mapping[str, Any], more: tuple[str, ...] = ()) -> Config:
        config = smoke("pipeline.generators=[adain]", *more)
        folder = run_folder(config)
        write_results(folder / "test" / "results.json", recognisers)
        judged = {"judge": {"accuracy": 0.75, "style_chance": 0.2},
                  "sources": {"training writers": MEASURED, "adain": MEASURED}}  # fmt: skip
        stages = {
            "test": {"duration_s": 2.0},
            "judge": {**judged, "duration_s": 1.0},
            **{f"style_transfer/adain/step{i}": {"duration_s": 10.0} for i in range(4)},
            # A mode whose name begins in the same way is another generator.
            "style_transfer/adain_mlp/step1": {
                "duration_s": 500.0,
                "warnings": ["step 5: flat", "step 9: a"],
            },
            "generated/adain": {"images_per_s": 123.4, "duration_s": 7.0},
            "clip": {"image_to_text_top1": 0.75, "duration_s": 3.0},
            "classifier/real/seed_0": {"duration_s": 10.0},
            "classifier/real/seed_1": {"duration_s": 10.0},
        }
        for stage, metrics in stages.items():
            write_json(folder / stage / "metrics.json", metrics)
        sheet = folder / "generated" / "adain" / "samples" / "sheet.png"
        sheet.parent.mkdir(parents=True)
        Image.new("L", (30, 20), 128).save(sheet)
        return config

    return written


def arms(**gains: float) -> list[dict[str, Any]]:
    """Recognisers that are better than the control by so much; ``_`` stands for ``+``."""
    named = {"real": 0.0, **gains}
    return [recogniser(Arm.parse(n.replace("_", "+")), better(by)) for n, by in named.items()]


def study_page(config: Config) -> tuple[Page, dict[str, Any]]:
    path = write_study_report(config, dict.fromkeys(config.pipeline.generators, "a row"))
    return Page(path), read_json(path.with_name("metrics.json"))


def test_a_damaged_file_of_an_earlier_stage_is_named_with_what_to_delete(
    study: Callable[..., Config],
) -> None:
    config = study(*arms(real_adain=0.1))
    old = run_folder(config) / "vae" / "metrics.json"
    write_json(old, {})
    study_page(config)
    old.write_bytes(b"{")
    with pytest.raises(InputError, match=rf"{re.escape(str(old))}.*Delete {old.parent}, then run"):
        study_page(config)


def test_gains_are_over_the_control_that_was_named_not_over_the_best(
    study: Callable[..., Config],
) -> None:
    found = arms(real=0.06, real_fonts=0.03, real_adain=0.08, real_adain_classical=0.06)
    page, metrics = study_page(study(*found))
    assert (metrics["control"], metrics["best_control"]) == ("real+fonts", "real")
    gains = {name: arm["gain"] for name, arm in metrics["arms"].items()}
    assert gains == pytest.approx(
        {"real": 0.03, "real+fonts": None, "real+adain": 0.05, "real+adain+classical": 0.03}
    )
    assert metrics["arms"]["real+adain"]["gain_interval"] == pytest.approx([0.05, 0.05])
    low, high = metrics["arms"]["real+adain"]["interval"]
    assert high - low > 0.3  # people differ much, the gain does not
    best = metrics["gains_per_character"]
    assert (best["arm"], best["over"]) == ("real+adain", "real+fonts")
    rows = page.rows("Recognisers trained on 1 person")
    assert list(rows) == ["real+adain", "real", "real+adain+classical", "real+fonts"]  # best first
    assert rows["real+adain"]["gain"] == "+0.050"
    assert rows["real+adain"]["corrected 95 % interval"] == "+0.050 .. +0.050"
    assert rows["real+fonts"]["gain"] == "-"


def test_one_test_writer_shows_nothing(study: Callable[..., Config]) -> None:
    arm, control = (Arm.parse(name) for name in ("real+adain", "real"))
    page, metrics = study_page(
        study(recogniser(arm, {"anna": 0.9}), recogniser(control, {"anna": 0.1}))
    )
    assert metrics["arms"]["real"]["interval"] is None
    assert metrics["arms"]["real+adain"]["gain_interval"] is None
    row = page.rows("Recognisers trained on 1 person")["real+adain"]
    assert (row["accuracy"], row["95 % interval"]) == ("0.900", "-")
    assert "one writer gives no interval" in page.text
    assert "nan" not in page.text


@pytest.mark.parametrize("is_real", [True, False])
def test_simulated_people_are_called_a_stand_in_and_a_manifests_are_not(
    is_real: bool, study: Callable[..., Config], write_images: Write
) -> None:
    more = ("data=manifest", f"data.manifest={write_images()}", "data.num_simulated_writers=0")
    page, metrics = study_page(study(*arms(adain=0.1), more=more if is_real else ()))
    assert metrics["is_real"] is is_real
    assert (STAND_IN in page.text) is not is_real
    stand_ins = "" if is_real else "stand-ins for "
    assert f"2 {stand_ins}people for training and by 2 others for testing" in page.text


def test_losers_are_listed_too(study: Callable[..., Config]) -> None:
    before = dict.fromkeys(SMOKE, 0.5)
    after = dict(zip(SMOKE, [0.9, 0.2, 0.5, 0.5, 0.6, 0.1], strict=True))
    arm, control = (Arm.parse(name) for name in ("real+adain", "real"))
    page, metrics = study_page(study(reader(arm, after), reader(control, before)))
    assert "Winners: あ +0.40 林 +0.10. Losers: 休 -0.40 シ -0.30." in page.text  # worst first
    assert metrics["gains_per_character"]["gains"]["休"] == pytest.approx(-0.4)


def test_every_part_of_the_study_is_in_the_report(study: Callable[..., Config]) -> None:
    page, metrics = study_page(study(*arms(real_adain=0.05, real_adain_classical=0.1)))
    assert metrics["duration_s"]["classifier/real/seed_1"] == 10
    assert page.rows("Time per stage")["2 classifiers"]["time"] == "20 s"
    assert metrics["retrieval"] == {"image_to_text_top1": 0.75}
    retrieval = page.rows("Retrieval by CLIP on validation writers")
    assert retrieval["image to text top1"]["value"] == "0.750"
    assert metrics["warnings"] == {"style_transfer/adain_mlp/step1": ["step 5: flat", "step 9: a"]}
    assert [row[1] for row in page.tables["Warnings"]] == ["what", "step 5: flat", "step 9: a"]
    assert metrics["judge"] == {"accuracy": 0.75, "style_chance": 0.2}
    found = metrics["sources"]["adain"]
    expected = {**MEASURED, "seeds": 1, "images_per_s": 123.4, "training_s": 40.0}
    assert {name: found[name] for name in expected} == expected
    assert (found["best_arm"], found["gain"]) == ("real+adain+classical", pytest.approx(0.1))
    assert metrics["sources"]["training writers"] == {**MEASURED, "seeds": 1}
    rows = page.rows("Image sources compared with handwriting, 1 person")
    assert {name: row["adain"] for name, row in rows.items() if row["best"]} == {
        title: "-" if MEASURED[name] is None else f"{MEASURED[name]:.3g}"
        for name, title in TITLES.items()
    }
    assert rows["corrected 95 % interval"]["adain"] == "+0.100 .. +0.100"
    assert "reads 0.750 of the training writers" in page.text
    legend = page.rows("What the measures mean")
    assert list(legend) == list(TITLES.values())


def test_a_measure_that_nothing_was_measured_by_has_no_row(
    study: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(MEASURED, OUTSIDE)
    page, _ = study_page(study(*arms(real_adain=0.05)))
    titles = {title for name, title in TITLES.items() if name != OUTSIDE}
    assert page.rows("What the measures mean").keys() == titles
    rows = page.rows("Image sources compared with handwriting, 1 person")
    assert {name for name, row in rows.items() if row["best"]} == titles


@pytest.mark.parametrize(
    ("name", "home"),
    [("adain", "style_transfer/adain/step_end"), ("dcgan", "dcgan"), ("cdiffusion", "cdiffusion")],
)
def test_the_last_sheet_of_training_is_shown(name: str, home: str, tmp_path: Path) -> None:
    samples = tmp_path / home / "samples"
    samples.mkdir(parents=True)
    for picture in ("step_000050.png", "step_000100.png", "traversal.png"):
        (samples / picture).touch()
    trained, generated = sample_sheets(tmp_path, {name: "a row"}).pictures
    assert trained.path == samples / "step_000100.png"
    assert trained.caption == f"{name}, training: a row"
    assert generated.path == tmp_path / "generated" / name / "samples" / "sheet.png"


# The page -----------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_fetches_nothing(study: Callable[..., Config]) -> None:
    config = study(*arms(real_adain=0.1))
    page, _ = study_page(config)
    assert page.links == []
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "base"}
    text = (run_folder(config) / "report.html").read_text("utf-8")
    assert not [part for part in ("url(", "@import") if part in text]
    assert (
        len(page.pictures) == 6
    )  # people, arms, gains, characters, confusions, one generator's sheet
    for picture in page.pictures:
        Image.open(BytesIO(picture)).verify()


def test_text_is_escaped_and_what_is_empty_is_left_out(tmp_path: Path) -> None:
    bad = "<script>alert('1')</script> & \""
    picture = tmp_path / "picture.png"
    Image.new("L", (7, 5)).save(picture)
    section = Section(
        bad, [bad], notice=bad, rows=[{bad: bad}], pictures=[Picture(picture, bad, True)]
    )
    page = write_report(tmp_path / "page.html", bad, [section])
    assert "script" not in Page(page).tags
    text = page.read_text("utf-8")
    assert text.count("&lt;script&gt;") == 9
    assert 'width="14"' in text
    small = Page(
        write_report(tmp_path / "page.html", "Title", [Section("", ["text"]), Section("Empty")])
    )
    assert small.tags == {"h1", "p"}


def test_a_table_of_text_is_aligned() -> None:
    text = text_table([{"name": "a", "value": "1"}, {"name": "longer", "value": "-12.345"}])
    assert text.splitlines() == ["name      value", "a             1", "longer  -12.345"]


# The evidence -------------------------------------------------------------------------------------


def write_cell(
    config: Config, people: int, seed: int, arms: Mapping[str, Mapping[str, float]],
    confused: Mapping[str, Mapping[str, int]] | None = None,
) -> None:  # fmt: skip
    """What the stages leave in one cell."""
    folder = run_folder(config) / f"seed_{seed}" / f"people_{people}"
    found = [
        recogniser(Arm.parse(arm), accuracies, seed, people, (confused or {}).get(arm))
        for arm, accuracies in arms.items()
    ]
    write_results(folder / "test" / "results.json", found)
    sources = {
        "training writers": {"domain_auc": 0.5, "style_match": None, "images": 12},
        "vae": {"domain_auc": 0.7 + seed / 10, "style_match": None if seed else 0.25, "images": 24},
    }
    write_json(folder / "judge" / "metrics.json", {"judge": {"accuracy": 0.9}, "sources": sources})
    write_json(folder / "vae" / "metrics.json", {"duration_s": 9.0})
    write_json(folder / "generated" / "vae" / "metrics.json", {"images_per_s": 100.0 + seed})


@pytest.fixture
def grid(smoke: ComposeSmoke) -> Config:
    """A grid of two seeds with one and five people, in which nothing was tested yet."""
    return replace(smoke("name=evidence"), evidence=EVIDENCE)


def write_grid(config: Config, gain: float = 0.05) -> None:
    """All cells: writers differ, arms by constants."""
    confused = {"real": {"シツ": 9}, CONTROL: {"シツ": 3, "ツシ": 1}, NAMED: {"シツ": 1}}
    for seed in (0, 1):
        for people, level in ((1, 0.0), (5, 0.09)):
            by = {"real": level - 0.3, CONTROL: level, NAMED: level + gain, OTHER: level - 0.02}
            if people == 1:
                by[f"{NAMED}@top"] = level + gain / 2
            accuracies = {arm: better(value) for arm, value in by.items()}
            write_cell(config, people, seed, accuracies, confused)


def evidence_page(config: Config, is_real: bool = True) -> tuple[Page, dict[str, Any]]:
    path = write_evidence_report(config, is_real)
    return Page(path), read_json(path.with_name("metrics.json"))


def cells_of(config: Config) -> tuple[Results, list[str]]:
    found, missing = read_cells(run_folder(config), config.evidence)
    return results_of(found), missing


def test_a_whole_grid_is_read(grid: Config) -> None:
    write_grid(grid)
    results, missing = cells_of(grid)
    assert missing == []
    plan = [(arm, n) for n in (1, 5) for arm in EVIDENCE.arms]
    places = {(str(arm), people) for arm, people in results.places}
    assert places == {*plan, (f"{NAMED}@top", 1)}
    own = results.by_character[Arm.parse(CONTROL), 1]
    assert own.index.unique("seed").tolist() == [0, 1]
    assert own.tolist() == pytest.approx([np.mean([*PEOPLE.values()])] * 4)
    write_cell(grid, 5, 7, {CONTROL: PEOPLE})  # of an earlier run
    results, missing = cells_of(grid)
    assert set(results.by_writer.index.unique("seed")) == {0, 1, 7}
    assert f"5 people, seed 7: real, {NAMED}, {OTHER}" in missing


def test_results_of_a_run_elsewhere_stand_beside_the_cells(grid: Config, tmp_path: Path) -> None:
    write_cell(grid, 1, 0, {CONTROL: PEOPLE})
    file = tmp_path / "elsewhere" / "results.json"
    others = [recogniser(Arm.parse(CONTROL), better(0.5), seed, 1) for seed in (0, 1)]
    write_results(file, [*others, recogniser(Arm.parse("real+another"), PEOPLE, 1, 1)])
    config = replace(grid, evidence=replace(grid.evidence, results=[str(file)]))
    results, missing = cells_of(config)
    assert results.places == [(Arm.parse(CONTROL), 1)]
    own = results.by_writer[Arm.parse(CONTROL), 1]
    assert own[0].to_dict() == PEOPLE  # the cell here comes first
    assert own[1].to_dict() == better(0.5)
    assert f"1 person, seed 1: real, {NAMED}, {OTHER}, {NAMED}@top" in missing


def test_what_is_missing_is_listed_and_what_lies_elsewhere_is_not_read(grid: Config) -> None:
    write_cell(grid, 1, 0, {"real": PEOPLE, CONTROL: PEOPLE, "real+another": PEOPLE})
    folder = run_folder(grid)
    # A recogniser of another seed is another recogniser; a renamed cell is none.
    (folder / "seed_1" / "people_1").mkdir(parents=True)
    write_results(folder / "seed_1/people_1/test/results.json",
                  [recogniser(Arm.parse(NAMED), PEOPLE, seed=7)])  # fmt: skip
    write_cell(grid, 5, 0, {NAMED: PEOPLE})
    (folder / "seed_0" / "people_5").rename(folder / "seed_0" / "people_old")
    results, missing = cells_of(grid)
    assert results.places == [(Arm.parse("real"), 1), (Arm.parse(CONTROL), 1)]
    assert missing == [
        f"1 person, seed 0: {NAMED}, {OTHER}, {NAMED}@top",
        "1 person, seed 1: all arms",
        "5 people, seed 0: all arms",
        "5 people, seed 1: all arms",
    ]


def test_the_judges_measures_are_means_over_the_seeds_that_have_them(grid: Config) -> None:
    write_grid(grid)
    write_cell(grid, 1, 2, {CONTROL: PEOPLE})
    (run_folder(grid) / "seed_2/people_1/generated/vae/metrics.json").unlink()
    sources = read_sources(sorted(run_folder(grid).glob("seed_*/people_1")), [])
    assert list(sources) == ["training writers", "vae"]
    assert sources["vae"] == pytest.approx(
        {"seeds": 3, "domain_auc": 0.8, "style_match": 0.25, "images": 24, "images_per_s": 100.5,
         "training_s": 9}
    )  # fmt: skip
    assert sources["training writers"]["style_match"] is None
    assert read_sources([], []) == {}


def test_the_named_arm_answers_first_and_the_best_is_called_chosen(grid: Config) -> None:
    write_grid(grid, gain=-0.03)
    page, metrics = evidence_page(grid)
    one, five = page.text.split("1 person: ")[1].split("5 people: ")[:2]
    assert one.startswith(f"{NAMED}, 0.590, gains -0.030 over {CONTROL}")
    assert f"Chosen after the fact: {NAMED}@top, 0.605, gains -0.015" in one
    assert metrics["best_generated"]["1"]["best"]["arm"] == f"{NAMED}@top"
    assert f"Chosen after the fact: {OTHER}" in five
    write_grid(grid)
    page, _ = evidence_page(grid)
    assert page.text.count("No other generated arm gains more.") == 2
    assert "Chosen after the fact:" not in page.text


def test_the_answer_has_its_gap_and_its_seeds(grid: Config) -> None:
    write_grid(grid, gain=0.045)
    page, metrics = evidence_page(grid)
    answer = (
        "(corrected 95 % interval +0.045 .. +0.045, corrected p 0.312, 2 seeds), "
        "50% of the gap to the ceiling, 0.090 (0.090 .. 0.090, 2 seeds): a gain."
    )
    assert answer in page.text.split("5 people: ")[0]
    assert "over the 5 test writers, so that with 5 comparisons no p" in page.text
    (found,) = [f for f in metrics["arms"] if (f["arm"], f["people"]) == (NAMED, 1)]
    assert found["gap"]["closed"] == pytest.approx(0.5)
    assert found["gain"]["corrected_p"] == pytest.approx(5 * 2 / 2**5)


def test_the_table_is_text_and_on_the_page(
    grid: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    write_grid(grid)
    page, metrics = evidence_page(grid, is_real=False)
    assert metrics["is_real"] is False
    assert STAND_IN in page.text
    text = (run_folder(grid) / "table.txt").read_text("utf-8")
    assert capsys.readouterr().out == text
    first, heading, *lines = text.splitlines()
    assert first == "1 person, gap to the ceiling 0.090 (0.090 .. 0.090, 2 seeds)"
    rows = page.rows("Recognisers trained on 1 person")
    assert list(rows) == [NAMED, f"{NAMED}@top", CONTROL, OTHER, "real"]
    for line, row in zip([heading, *lines], [dict.fromkeys(rows[NAMED]), *rows.values()],
                         strict=False):  # fmt: skip
        assert line.split() == " ".join(value or name for name, value in row.items()).split()
    assert (rows[NAMED]["AUC"], rows[CONTROL]["AUC"]) == ("0.750", "-")
    look_alikes = page.rows("Confusions")["シ/ツ"]
    assert (look_alikes["1 person"], look_alikes["5 people"]) == ("8 → 2", "8 → 2")


def test_a_grid_that_is_still_going_on_has_a_report(grid: Config) -> None:
    write_cell(grid, 1, 0, {NAMED: PEOPLE, OTHER: PEOPLE})  # no control yet
    page, metrics = evidence_page(grid)
    assert metrics["best_generated"] == {}
    assert ["5 people, seed 1: all arms"] in page.tables["Not tested yet"]
    write_cell(grid, 1, 0, {NAMED: PEOPLE, CONTROL: PEOPLE})
    write_cell(grid, 1, 1, {NAMED: better(-0.1)})
    (run_folder(grid) / "seed_0/people_1/judge/metrics.json").unlink()
    page, metrics = evidence_page(grid)
    assert page.rows("Recognisers trained on 1 person")[NAMED]["seeds"] == "2, gain 1"
    assert "nan" not in page.text


def test_the_report_is_the_same_each_time(grid: Config) -> None:
    write_grid(grid)
    page, metrics = evidence_page(grid)
    again, same = evidence_page(grid)
    assert (again.text, again.pictures, same) == (page.text, page.pictures, metrics)
    assert len(page.pictures) == 4


# Pictures -----------------------------------------------------------------------------------------


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, instead of files."""
    drawn: list[Figure] = []

    def noted(figure: Figure, path: Path) -> None:
        drawn.append(figure)
        plt.close(figure)

    monkeypatch.setattr(plots, "save", noted)
    return drawn


def labels(ticks: Any) -> list[str]:
    return [label.get_text() for label in ticks]


def test_the_curve_has_a_line_per_arm_and_the_ceiling(
    grid: Config, figures: list[Figure], tmp_path: Path
) -> None:
    write_grid(grid)
    perfect = recogniser(Arm(("perfect",)), dict.fromkeys(PEOPLE, 1.0))
    results = results_of([*read_cells(run_folder(grid), EVIDENCE)[0], perfect])
    control, named = Arm.parse(CONTROL), Arm.parse(NAMED)
    findings = compare(results, control, named, 5, 1)
    plots.accuracy_over_people(findings, control, named, Path("unused"))
    figures[0].savefig(tmp_path / "curve.png")
    (axis,) = figures[0].axes
    lines = {str(line.get_label()): line for line in axis.lines}
    ceiling = f"ceiling: {CONTROL} with 5"
    assert set(lines) == {*EVIDENCE.arms, f"{NAMED}@top", "perfect", ceiling}
    assert list(lines[CONTROL].get_xdata()) == [1, 5]  # type: ignore[arg-type]
    mean = np.mean(list(PEOPLE.values()))
    np.testing.assert_allclose(np.array(lines[CONTROL].get_ydata()), [mean, mean + 0.09])
    assert lines[CONTROL].get_linewidth() == lines[NAMED].get_linewidth() > 2
    assert lines[CONTROL].get_color() != lines[NAMED].get_color()
    low, high = axis.get_ylim()  # of a logistic axis, which has neither 0 nor 1
    for line in axis.lines:
        y = np.array(line.get_ydata())
        assert np.all((low > 0) & (low < y) & (y < high) & (high < 1))


def test_gains_are_drawn_on_both_sides_of_zero_a_column_per_people(figures: list[Figure]) -> None:
    control, named, other = map(Arm.parse, (CONTROL, NAMED, "real"))
    points = {(named, 1): (0.05, (0.01, 0.09)), (other, 1): (-0.3, None), (named, 5): (0.3, None)}
    plots.arm_intervals(points, control, named, "gain", Path("unused"), are_gains=True)
    one, five = figures[0].axes
    assert (one.get_title(), five.get_title()) == ("1 person", "5 people")
    assert labels(one.get_yticklabels()) == ["real", NAMED]  # the best is on top
    drawn = [np.unique(line.get_xdata()).tolist() for axis in (one, five) for line in axis.lines]
    assert sorted(drawn) == sorted([[-0.3], [-0.3], [0.01, 0.09], [0.05], [0.3], [0.3], [0], [0]])
    low, high = five.get_xlim()
    assert low < -0.3 < 0.3 < high


def test_the_hardest_characters_come_first_a_row_per_arm(figures: list[Figure]) -> None:
    real, generated = Arm.parse("real"), Arm.parse("real+adain")
    found = [
        reader(real, {"木": 0.9, "林": 0.4, "休": 0.6}),
        reader(real, {"木": 0.7, "林": 0.0, "休": 0.6}, seed=1),
        reader(generated, {"木": 1.0, "林": 0.3, "休": 0.5}),
    ]
    plots.per_character_bars(results_of(found), Path("unused"))
    first, second = figures[0].axes
    assert labels(second.get_xticklabels()) == ["林", "休", "木"]
    heights = [[patch.get_height() for patch in axis.patches] for axis in (first, second)]  # type: ignore[attr-defined]
    np.testing.assert_allclose(heights, [[0.2, 0.6, 0.8], [0.3, 0.5, 1.0]])  # means of seeds
    assert [axis.get_title(loc="left") for axis in (first, second)] == ["real", "real+adain"]


def test_winners_and_losers_are_drawn_when_not_all_fit(figures: list[Figure]) -> None:
    gains = {chr(0x4E00 + i): (i / 100 - 1, (i / 100 - 2, i / 100)) for i in range(200)}
    one = {"木": (0.5, None)}
    plots.gains_per_character({"many": gains, "one": one}, Path("unused"))
    first, second = figures[0].axes
    order = sorted(gains, key=lambda c: -gains[c][0])
    shown = [*order[:30], *order[-30:]]
    assert labels(first.get_xticklabels()) == shown
    heights = [patch.get_height() for patch in first.patches]  # type: ignore[attr-defined]
    assert heights == pytest.approx([gains[c][0] for c in shown])
    segments = first.collections[0].get_segments()  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        [segment[:, 1] for segment in segments], [gains[c][1] for c in shown]
    )
    assert second.get_title(loc="left") == "one"


def test_a_picture_is_a_png_and_one_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "gains.png"
    gains = {"a → b": {"木": (0.5, None), "林": (-0.5, (-0.6, -0.4))}}
    plots.gains_per_character(gains, path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 5
    before = path.read_bytes()

    def full(figure: Figure, file: Path, **options: Any) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(InputError, match=r"cannot write .*gains.png: No space left on device"):
        plots.gains_per_character(gains, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    assert plt.get_fignums() == []
