"""The evidence: people as the sample, paired arms, corrected p, and a report that says no more."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import ComposeSmoke
from matplotlib.figure import Figure
from PIL import Image

from handwriting.config import Config, Evidence
from handwriting.errors import InputError
from handwriting.reports.statistics import interval
from handwriting.runs.run import run_folder
from handwriting.storage.json_files import read_json, write_json
from training_character_classification.report import plots
from training_character_classification.report.comparison import STAND_IN
from training_character_classification.report.evidence_report import write_evidence_report
from training_character_classification.report.findings import (
    CharacterGain,
    Confusion,
    Finding,
    Gain,
    Gap,
    Reading,
    Readings,
    Seeds,
    best_generated,
    character_gains,
    compare,
    confusions,
    look_alikes,
    paired,
    read_cells,
    read_sources,
)

CONTROL, NAMED, OTHER = "real+fonts", "real+fonts+vae", "vae"
EVIDENCE = Evidence(
    arms=["real", CONTROL, NAMED, OTHER], control=CONTROL, people=[1, 5], seeds=[0, 1],
    recipe_arm=NAMED, recipe_people=[1], recipes={"top": {"by_confusion": True}},
)  # fmt: skip
PEOPLE = {"anna": 0.4, "ben": 0.6, "chie": 0.9, "dai": 0.5, "emi": 0.7}  # who differ much


def reading(
    per_writer: Mapping[str, float],
    per_character: Mapping[str, float] | None = None,
    confused: Mapping[tuple[str, str], int] | None = None,
) -> Reading:
    return Reading(dict(per_writer), dict(per_character or {"シ": 0.5}), 0.5, dict(confused or {}))


def better(by: float, people: Mapping[str, float] = PEOPLE) -> dict[str, float]:
    return {name: value + by for name, value in people.items()}


def found_by(readings: Readings, evidence: Evidence = EVIDENCE) -> dict[tuple[str, int], Finding]:
    return {(f.arm, f.people): f for f in compare(readings, evidence)}


def gain_of(arm: Seeds, control: Seeds) -> Gain:
    gain = found_by({(CONTROL, 1): control, (NAMED, 1): arm})[NAMED, 1].gain
    assert gain is not None
    return gain


# Pairing ------------------------------------------------------------------------------------------


def test_a_constant_gain_has_no_spread_and_the_smallest_p() -> None:
    gain = gain_of({0: reading(better(0.05))}, {0: reading(PEOPLE)})
    assert gain.gain == pytest.approx(0.05)
    assert gain.interval == pytest.approx((0.05, 0.05))
    assert gain.p == pytest.approx(2 / 2 ** len(PEOPLE))
    assert (gain.num_seeds, gain.num_writers) == (1, 5)


def test_p_is_of_the_gains_and_their_signs() -> None:
    uneven = {**better(0.05), "anna": PEOPLE["anna"] - 0.05}
    gain = gain_of({0: reading(uneven)}, {0: reading(PEOPLE)})
    # Of 32 ways to choose signs, 2 are as far from zero as all alike and 10 as all but one.
    assert gain.p == pytest.approx(12 / 32)


def test_a_writer_of_several_seeds_is_one_unit() -> None:
    seeds = {0: reading({"anna": 0.2, "ben": 0.9}), 1: reading({"anna": 0.4, "chie": 0.6})}
    np.testing.assert_allclose(paired([seeds]), [[0.3, 0.9, 0.6]])
    found = found_by({(CONTROL, 1): seeds})[CONTROL, 1]
    assert found.accuracy == pytest.approx(0.6)
    assert (found.num_seeds, found.num_writers) == (2, 3)


def test_a_missing_cell_does_not_bias_a_gain() -> None:
    """The control was not tested yet with the seed of people who are hard to read."""
    hard = better(-0.3)
    arm = {0: reading(better(0.02)), 1: reading(hard)}
    gain = gain_of(arm, {0: reading(PEOPLE)})
    assert gain.gain == pytest.approx(0.02)
    assert gain.num_seeds == 1
    # Nor do writers whom one of the two was not tested on.
    without = {name: value for name, value in PEOPLE.items() if name != "chie"}
    gain = gain_of({0: reading(better(0.02))}, {0: reading(without)})
    assert gain.gain == pytest.approx(0.02)
    assert gain.num_writers == 4


def test_writers_are_paired_by_name_whatever_their_order() -> None:
    backwards = dict(reversed(better(0.05).items()))
    gain = gain_of({0: reading(backwards)}, {0: reading(PEOPLE)})
    assert gain.interval == pytest.approx((0.05, 0.05))


def test_an_arm_without_a_seed_in_common_has_no_gain() -> None:
    found = found_by({(CONTROL, 1): {0: reading(PEOPLE)}, (NAMED, 1): {1: reading(PEOPLE)}})
    assert found[NAMED, 1].gain is None
    assert found[CONTROL, 1].gain is None  # nor the control over itself
    assert found_by({(NAMED, 1): {1: reading(PEOPLE)}})[NAMED, 1].gain is None


def test_an_interval_is_over_writers_not_over_seeds_or_images() -> None:
    """Four people who differ, each tested with the same result by ten seeds."""
    rng = np.random.default_rng(0)
    people = {"anna": 0.3, "ben": 0.5, "chie": 0.7, "dai": 0.9}
    seeds = {s: reading({n: v + rng.normal(0, 0.01) for n, v in people.items()}) for s in range(10)}
    found = found_by({(CONTROL, 1): seeds})[CONTROL, 1].interval
    everything = np.array([v for one in seeds.values() for v in one.per_writer.values()])
    naive = interval(everything)
    assert found is not None
    assert naive is not None
    assert found[1] - found[0] > 2 * (naive[1] - naive[0])


# The gap ------------------------------------------------------------------------------------------


def gaps(control: float, arm: float, ceiling: float) -> Gap | None:
    readings = {
        (CONTROL, 1): {0: reading(better(control))},
        (NAMED, 1): {0: reading(better(arm))},
        (CONTROL, 5): {0: reading(better(ceiling))},
    }
    return found_by(readings)[NAMED, 1].gap


@pytest.mark.parametrize(("arm", "closed"), [(0.03, 0.3), (0.1, 1.0), (-0.05, -0.5), (0.0, 0.0)])
def test_the_share_of_the_gap(arm: float, closed: float) -> None:
    gap = gaps(0.0, arm, 0.1)
    assert gap is not None
    assert gap.size == pytest.approx(0.1)
    assert gap.interval == pytest.approx((0.1, 0.1))
    assert gap.closed == pytest.approx(closed)


def test_a_share_of_no_gap_is_none() -> None:
    for ceiling in (0.0, -0.1):
        gap = gaps(0.0, 0.05, ceiling)
        assert gap is not None
        assert gap.size == pytest.approx(ceiling)
        assert gap.closed is None
    uneven = dict(zip(PEOPLE, [0.5, 0.5, 0.95, 0.5, 0.7], strict=True))  # a gap for one person
    found = found_by({(CONTROL, 1): {0: reading(PEOPLE)}, (CONTROL, 5): {0: reading(uneven)}})
    gap = found[CONTROL, 1].gap
    assert gap is not None
    assert gap.size > 0
    assert gap.closed is None


def test_the_ceiling_is_the_control_with_the_most_people_planned() -> None:
    readings = {(CONTROL, n): {0: reading(better(n / 100))} for n in (1, 2)}
    assert found_by(readings)[CONTROL, 1].gap is None  # five people were not tested yet
    more = {**readings, (CONTROL, 9): {0: reading(better(0.09))}}  # of an earlier run
    gap = found_by(more)[CONTROL, 1].gap
    assert gap is not None
    assert gap.size == pytest.approx(0.08)


def test_a_gap_is_over_the_seeds_that_arm_control_and_ceiling_have() -> None:
    readings = {
        (CONTROL, 1): {0: reading(PEOPLE), 1: reading(better(-0.3))},
        (NAMED, 1): {0: reading(better(0.02)), 1: reading(better(-0.3))},
        (CONTROL, 5): {0: reading(better(0.1))},
    }
    found = found_by(readings)[NAMED, 1]
    assert found.gap is not None
    assert (found.gap.size, found.gap.closed) == pytest.approx((0.1, 0.2))
    assert found.gap.num_seeds == 1
    assert found.gain is not None
    assert found.gain.gain == pytest.approx(0.01)


# Several arms -------------------------------------------------------------------------------------


def test_only_generated_arms_are_corrected_for_each_other() -> None:
    rng = np.random.default_rng(0)
    noisy = [{n: v + rng.normal(0.02, 0.02) for n, v in PEOPLE.items()} for _ in range(2)]
    readings = {
        ("real", 1): {0: reading(better(-0.1))},
        (CONTROL, 1): {0: reading(PEOPLE)},
        (NAMED, 1): {0: reading(better(0.05))},
        (OTHER, 1): {0: reading(noisy[0])},
        (CONTROL, 5): {0: reading(PEOPLE)},
        (NAMED, 5): {0: reading(noisy[1])},
    }
    gains = {place: f.gain for place, f in found_by(readings).items() if f.gain}
    corrected = {place: gain.corrected_p for place, gain in gains.items()}
    assert corrected.keys() == {("real", 1), (NAMED, 1), (OTHER, 1), (NAMED, 5)}
    assert corrected["real", 1] is None
    assert corrected[NAMED, 1] == pytest.approx(3 * 2 / 2**5)  # the smallest of three
    assert all((corrected[place] or 1) >= gain.p for place, gain in gains.items())


def test_the_best_generated_arm_is_the_one_that_gains_most() -> None:
    readings = {
        ("real", 1): {0: reading(better(0.2))},  # not generated
        (CONTROL, 1): {0: reading(PEOPLE), 1: reading(better(-0.3))},
        (NAMED, 1): {0: reading(better(0.02)), 1: reading(better(-0.28))},
        (OTHER, 1): {0: reading(better(0.01))},  # looks better: not tested on the hard seed
    }
    findings = compare(readings, EVIDENCE)
    best = best_generated(findings, 1)
    assert best is not None
    assert best.arm == NAMED
    assert best_generated(findings, 5) is None


def test_the_worst_tenth_is_over_the_means_of_seeds() -> None:
    characters = {chr(0x30A2 + i): 0.5 + i / 100 for i in range(20)}
    unlucky = {**characters, chr(0x30A2 + 19): 0.0}  # once, in one of two seeds
    seeds = {0: reading(PEOPLE, characters), 1: reading(PEOPLE, unlucky)}
    found = found_by({(CONTROL, 1): seeds})[CONTROL, 1]
    assert found.worst_tenth == pytest.approx((0.69 / 2 + 0.5) / 2)


# Characters ---------------------------------------------------------------------------------------


def test_gains_of_characters_are_over_shared_seeds() -> None:
    arm = {s: reading(PEOPLE, {"シ": 0.5 + s / 10, "ツ": 1.0, "ン": 0.0}) for s in range(4)}
    control = {s: reading(PEOPLE, {"シ": 0.5, "ツ": 0.75}) for s in (0, 1, 2, 9)}
    gains = character_gains(arm, control)
    assert gains.keys() == {"シ", "ツ"}
    assert gains["ツ"] == CharacterGain(0.25, (0.25, 0.25))
    assert gains["シ"].gain == pytest.approx(0.1)
    half = 4.30265 * 0.1 / 3**0.5  # Student's t with two degrees of freedom
    assert gains["シ"].interval == pytest.approx((0.1 - half, 0.1 + half), abs=1e-5)
    one = character_gains({0: arm[0]}, {0: control[0]})
    assert one["ツ"].interval is None


def test_confusions_are_summed_over_shared_seeds_most_frequent_first() -> None:
    arm = {
        0: reading(PEOPLE, confused={("シ", "ツ"): 1}),
        1: reading(PEOPLE, confused={("ソ", "ン"): 2}),
        2: reading(PEOPLE, confused={("シ", "ツ"): 100}),
    }
    control = {s: reading(PEOPLE, confused={("ア", "マ"): 1, ("シ", "ツ"): 3}) for s in (0, 1)}
    found = confusions(arm, control)
    assert found == [
        Confusion("シ", "ツ", 6, 1), Confusion("ア", "マ", 2, 0), Confusion("ソ", "ン", 0, 2),
    ]  # fmt: skip


def test_look_alikes_count_both_ways_where_both_are_classes() -> None:
    found = [
        Confusion("シ", "ツ", 6, 1), Confusion("ツ", "シ", 2, 4), Confusion("シ", "ン", 9, 9),
        Confusion("未", "末", 5, 5),
    ]  # fmt: skip
    named = look_alikes(found, set("シツソン未"))
    assert Confusion("シ", "ツ", 8, 5) in named
    assert Confusion("ソ", "ン", 0, 0) in named
    assert "未" not in {pair.written for pair in named}


# Files --------------------------------------------------------------------------------------------


def result(per_writer: Mapping[str, float], confused: Sequence[Any] = ()) -> dict[str, Any]:
    """A recogniser's part of ``test/metrics.json``."""
    accuracy = float(np.mean(list(per_writer.values())))
    scores = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 4}
    return {
        "accuracy": accuracy, "interval": None, "macro_f1": accuracy - 0.01,
        "per_writer": list(per_writer.values()), "writers": list(per_writer),
        "per_character": {"シ": {"accuracy": accuracy, **scores},
                          "ツ": {"accuracy": 1 - accuracy, **scores},
                          "ン": {"accuracy": 2 * accuracy - 0.6, **scores}},
        "confusions": [list(each) for each in confused],
    }  # fmt: skip


def write_cell(config: Config, people: int, seed: int, arms: Mapping[str, dict[str, Any]]) -> None:
    """What the stages leave in one cell."""
    folder = run_folder(config) / f"seed_{seed}" / f"people_{people}"
    recognisers = {f"{arm}/seed_{seed}": found for arm, found in arms.items()}
    write_json(folder / "test" / "metrics.json", {"recognisers": recognisers})
    sources = {
        "training writers": {"domain_auc": 0.5, "style_match": None, "images": 12},
        "vae": {"domain_auc": 0.7 + seed / 10, "style_match": None if seed else 0.25,
                "frechet": 2.0 + seed, "images": 24},
    }  # fmt: skip
    write_json(folder / "judge" / "metrics.json", {"judge": {"accuracy": 0.9}, "sources": sources})
    write_json(folder / "generated" / "vae" / "metrics.json", {"images_per_s": 100.0 + seed})


@pytest.fixture
def study(smoke: ComposeSmoke) -> Config:
    """A grid of two seeds with one and five people, in which nothing was tested yet."""
    return replace(smoke("name=evidence"), evidence=EVIDENCE)


def write_grid(study: Config, gain: float = 0.05) -> None:
    """All cells: writers differ, arms by constants."""
    for seed in (0, 1):
        for people, level in ((1, 0.0), (5, 0.09)):
            arms = {
                "real": result(better(level - 0.3), [("シ", "ツ", 9)]),
                CONTROL: result(better(level), [("シ", "ツ", 3), ("ツ", "シ", 1)]),
                NAMED: result(better(level + gain), [("シ", "ツ", 1)]),
                OTHER: result(better(level - 0.02)),
            }
            if people == 1:
                arms[f"{NAMED}@top"] = result(better(level + gain / 2))
            write_cell(study, people, seed, arms)


def test_a_whole_grid_is_read(study: Config) -> None:
    write_grid(study)
    readings, missing = read_cells(study)
    assert missing == []
    plan = [(arm, n) for n in (1, 5) for arm in EVIDENCE.arms]
    assert set(readings) == {*plan, (f"{NAMED}@top", 1)}
    assert all(set(seeds) == {0, 1} for seeds in readings.values())
    found = readings[CONTROL, 1][1]
    assert found.per_writer == PEOPLE
    assert found.confusions == {("シ", "ツ"): 3, ("ツ", "シ"): 1}


def test_what_is_missing_is_listed(study: Config) -> None:
    write_cell(study, 1, 0, {"real": result(PEOPLE), CONTROL: result(PEOPLE)})
    # A recogniser of another seed is another recogniser.
    folder = run_folder(study) / "seed_1" / "people_1"
    write_json(folder / "test" / "metrics.json", {"recognisers": {"real/seed_7": result(PEOPLE)}})
    readings, missing = read_cells(study)
    assert set(readings) == {("real", 1), (CONTROL, 1)}
    assert missing == [
        f"1 person, seed 0: {NAMED}, {OTHER}, {NAMED}@top",
        "1 person, seed 1: all arms",
        "5 people, seed 0: all arms",
        "5 people, seed 1: all arms",
    ]


def test_cells_of_earlier_runs_count(study: Config) -> None:
    write_grid(study)
    write_cell(study, 5, 7, {CONTROL: result(PEOPLE)})
    (run_folder(study) / "seed_0").rename(run_folder(study) / "seed_old")  # by hand: no cell
    readings, missing = read_cells(study)
    assert set(readings[CONTROL, 5]) == {1, 7}
    assert f"5 people, seed 7: real, {NAMED}, {OTHER}" in missing


def test_an_empty_grid_is_refused(study: Config) -> None:
    with pytest.raises(InputError, match=r"no arm .* tested yet.*seed_0/people_1.*evidence.py"):
        read_cells(study)
    write_cell(study, 1, 0, {"real+another": result(PEOPLE)})
    with pytest.raises(InputError, match="no arm of the evidence"):
        write_evidence_report(study, is_real=True)


def test_results_that_do_not_name_the_writers_are_refused(study: Config) -> None:
    old = {key: value for key, value in result(PEOPLE).items() if key != "writers"}
    write_cell(study, 1, 0, {CONTROL: old})
    with pytest.raises(InputError, match="does not name the writers: remove its folder"):
        read_cells(study)


def test_the_judges_measures_are_means_over_the_seeds_that_have_them(study: Config) -> None:
    write_grid(study)
    write_cell(study, 1, 2, {CONTROL: result(PEOPLE)})
    (run_folder(study) / "seed_2/people_1/generated/vae/metrics.json").unlink()
    sources = read_sources(study, 1)
    assert list(sources) == ["training writers", "vae"]
    assert sources["vae"] == pytest.approx(
        {"seeds": 3, "domain_auc": 0.8, "style_match": 0.25, "frechet": 3.0, "images": 24,
         "images_per_s": 100.5}
    )  # fmt: skip
    assert sources["training writers"]["style_match"] is None
    assert read_sources(study, 9) == {}


# The report ---------------------------------------------------------------------------------------


def report_of(study: Config, is_real: bool = True) -> tuple[str, dict[str, Any]]:
    path = write_evidence_report(study, is_real)
    page = path.read_text("utf-8").replace("\u200b", "").replace("\u00a0", " ")
    return page.split("</style>")[1], read_json(path.parent / "metrics.json")


def test_the_named_arm_answers_first_and_the_best_is_called_chosen(study: Config) -> None:
    write_grid(study, gain=-0.03)
    page, metrics = report_of(study)
    assert (
        f"1 person: {NAMED} gains -0.030 (corrected 95 % interval -0.030 .. -0.030, corrected p"
        in page
    )
    assert f"Chosen after the fact: {NAMED}@top gains -0.015" in page
    assert metrics["best_generated"]["1"]["best"]["arm"] == f"{NAMED}@top"
    assert f"Chosen after the fact: {OTHER} gains -0.020" in page.split("5 people:")[1]
    write_grid(study)
    page, _ = report_of(study)
    assert page.count("No other generated arm gains more.") == 2
    assert "Chosen after the fact:" not in page


def test_the_answer_has_its_gap_and_its_seeds(study: Config) -> None:
    write_grid(study, gain=0.045)
    page, metrics = report_of(study)
    answer = (
        "gains +0.045 (corrected 95 % interval +0.045 .. +0.045, corrected p 0.312, 2 seeds), "
        "50 % of the gap to the ceiling, 0.090 (0.090 .. 0.090, 2 seeds): a gain."
    )
    assert f"1 person: {NAMED} {answer}" in page
    assert (
        "over the 5 people who were tested, so that with 5 comparisons no p is below 0.31" in page
    )
    (found,) = [f for f in metrics["arms"] if (f["arm"], f["people"]) == (NAMED, 1)]
    assert found["gap"]["closed"] == pytest.approx(0.5)
    assert found["gain"]["corrected_p"] == pytest.approx(5 * 2 / 2**5)
    assert found["macro_f1"] == pytest.approx(np.mean(list(PEOPLE.values())) + 0.035)


def test_simulated_people_are_called_a_stand_in(study: Config) -> None:
    write_grid(study)
    page, metrics = report_of(study, is_real=False)
    assert f'<p class="notice">{STAND_IN}</p>' in page
    assert metrics["is_real"] is False
    page, metrics = report_of(study, is_real=True)
    assert "notice" not in page
    assert metrics["is_real"] is True


def test_the_table_is_text_and_on_the_page(
    study: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    write_grid(study)
    page, _ = report_of(study)
    text = (run_folder(study) / "table.txt").read_text("utf-8")
    assert capsys.readouterr().out == text
    first, heading, *rows = text.splitlines()
    assert first == "1 person, gap to the ceiling 0.090 (0.090 .. 0.090, 2 seeds)"
    assert heading.split()[:2] == ["arm", "accuracy"]
    assert [row.split()[0] for row in rows[:5]] == [
        NAMED, f"{NAMED}@top", CONTROL, OTHER, "real",
    ]  # fmt: skip
    assert rows[0].split()[-4:] == ["%", "0.750", "2", "5"]  # the probe's AUC, seeds, writers
    assert rows[2].split()[-4:] == ["-", "-", "2", "5"]
    assert f"<td>{NAMED}</td><td>0.670</td>" in page
    assert "<td>frechet</td><td>-</td><td>2.5</td>" in page
    assert "<td>シ/ツ</td><td>8 → 2</td><td>8 → 2</td>" in page  # two seeds, both ways
    assert "Winners: ン +0.10 シ +0.05. Losers: ツ -0.05." in page


def test_a_grid_that_is_still_going_on_has_a_report(study: Config) -> None:
    write_cell(study, 1, 0, {NAMED: result(PEOPLE), OTHER: result(PEOPLE)})  # no control yet
    page, metrics = report_of(study)
    assert metrics["best_generated"] == {}
    assert "<td>5 people, seed 1: all arms</td>" in page
    write_cell(study, 1, 0, {NAMED: result(PEOPLE), CONTROL: result(PEOPLE)})
    write_cell(study, 1, 1, {NAMED: result(better(-0.1))})
    (run_folder(study) / "seed_0/people_1/judge/metrics.json").unlink()
    page, metrics = report_of(study)
    assert "<td>2, gain 1</td>" in page
    assert "gain 0.000" not in page
    assert "nan" not in page.partition("base64")[0]
    write_cell(study, 1, 0, {NAMED: result({"anna": 0.9}), CONTROL: result({"anna": 0.1})})
    page, _ = report_of(study)
    assert "one writer gives no interval" in page
    assert ": a gain" not in page


def test_the_report_is_the_same_each_time(study: Config) -> None:
    write_grid(study)
    write_cell(study, 1, 1, {CONTROL: result(PEOPLE), NAMED: result(dict.fromkeys(PEOPLE, 0.6))})
    page, metrics = report_of(study)
    assert report_of(study) == (page, metrics)
    folder = run_folder(study)
    for name in ("curve", "gains", "per_character", "confusions"):
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 200
    assert page.count("data:image/png;base64,") == 4


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


@pytest.fixture
def findings(study: Config) -> list[Finding]:
    write_grid(study, gain=-0.3)
    readings, _ = read_cells(study)
    return compare(readings, EVIDENCE)


def labels(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def test_the_curve_has_a_line_per_arm_and_the_ceiling(
    findings: list[Finding], figures: list[Figure]
) -> None:
    plots.accuracy_over_people(findings, CONTROL, NAMED, Path("unused"))
    (axis,) = figures[0].axes
    lines = {str(line.get_label()): line for line in axis.lines}
    assert set(lines) == {*EVIDENCE.arms, f"{NAMED}@top", f"ceiling: {CONTROL} with 5"}
    assert list(lines[CONTROL].get_xdata()) == [1, 5]  # type: ignore[arg-type]
    mean = np.mean(list(PEOPLE.values()))
    np.testing.assert_allclose(np.array(lines[CONTROL].get_ydata()), [mean, mean + 0.09])
    assert lines[CONTROL].get_linewidth() == lines[NAMED].get_linewidth() > 2
    assert lines[CONTROL].get_color() != lines[NAMED].get_color()
    low, high = axis.get_ylim()
    assert low < mean - 0.3 < mean + 0.09 < high
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "5"]


def test_perfect_accuracy_can_be_drawn(figures: list[Figure], tmp_path: Path) -> None:
    found = found_by({(CONTROL, 1): {0: reading({"anna": 1.0, "ben": 1.0})},
                      ("real", 1): {0: reading({"anna": 0.0, "ben": 0.0})}})  # fmt: skip
    plots.accuracy_over_people(list(found.values()), CONTROL, NAMED, Path("unused"))
    figures[0].savefig(tmp_path / "curve.png")
    (axis,) = figures[0].axes
    low, high = axis.get_ylim()  # of a logistic axis, which has neither 0 nor 1
    assert 0 < low < high < 1
    for line in axis.lines:
        assert np.all((low < np.array(line.get_ydata())) & (np.array(line.get_ydata()) < high))


def test_a_gain_beyond_the_edge_is_an_arrow_with_its_number(
    findings: list[Finding], figures: list[Figure]
) -> None:
    plots.gains_over_control(findings, CONTROL, NAMED, Path("unused"))
    one, five = figures[0].axes
    assert (one.get_title(), five.get_title()) == ("1 person", "5 people")
    assert set(labels(one)) == {"real", NAMED, OTHER, f"{NAMED}@top"}
    assert labels(one)[-1] == OTHER  # the best is on top
    assert [text.get_text() for text in five.texts] == ["-0.30", "-0.30"]
    low, high = five.get_xlim()
    for line in (*one.lines, *five.lines):
        assert np.all((low <= np.array(line.get_xdata())) & (np.array(line.get_xdata()) <= high))


def test_characters_are_drawn_with_their_intervals_winners_first(figures: list[Figure]) -> None:
    gains = {"シ": CharacterGain(-0.1, (-0.2, 0.0)), "ツ": CharacterGain(0.3, None)}
    plots.character_gains({"a": gains, "b": {"ソ": gains["ツ"]}}, Path("unused"))
    first, second = figures[0].axes
    assert [label.get_text() for label in first.get_xticklabels()] == ["ツ", "シ"]
    assert [patch.get_height() for patch in first.patches] == [0.3, -0.1]
    segments = first.collections[0].get_segments()  # type: ignore[attr-defined]
    np.testing.assert_allclose([segment[:, 1] for segment in segments], [[0.3, 0.3], [-0.2, 0.0]])
    assert second.get_title(loc="left") == "b"


def test_the_most_frequent_confusions_are_drawn(figures: list[Figure]) -> None:
    pairs = [Confusion(chr(0x30A2 + i), "ン", 40 - i, 20) for i in range(30)]
    plots.confusion_pairs({"one": pairs, "two": pairs[:2]}, CONTROL, Path("unused"))
    one, two = figures[0].axes
    assert labels(one) == [f"{pair.written}→ン" for pair in pairs[: plots.MAX_PAIRS]]
    assert labels(two) == ["ア→ン", "ィ→ン"]
    assert one.get_ylim() == two.get_ylim() == (plots.MAX_PAIRS - 0.5, -0.5)  # the first on top
    of_control, of_arm = (c.get_offsets() for c in two.collections)
    np.testing.assert_allclose(of_control, [[40, 0], [39, 1]])  # type: ignore[arg-type]
    np.testing.assert_allclose(of_arm, [[20, 0], [20, 1]])  # type: ignore[arg-type]
