"""The result table and its statistics: people as the sample, paired arms, corrected p."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from handwriting.config import Evidence
from handwriting.reports.statistics import accuracy_interval, interval
from handwriting.storage.json_files import read_json
from training_character_classification.arms import Arm
from training_character_classification.report.evidence import compared
from training_character_classification.report.results import (
    Finding,
    Gain,
    Gap,
    best_arm,
    character_gains,
    compare,
    confusions,
    group_gains,
    group_shares,
    look_alikes,
    per_writer,
    recogniser_result,
    result_table,
    results_of,
    write_results,
)

REAL, CONTROL, NAMED, OTHER, SIMULATED = map(
    Arm.parse, ("real", "real+fonts", "real+fonts+vae", "vae", "real+simulated")
)
PEOPLE = {"anna": 0.4, "ben": 0.6, "chie": 0.9, "dai": 0.5, "emi": 0.7}  # who differ much
SHOWN = 1000  # images by each writer


def recogniser(
    arm: Arm, accuracies: Mapping[str, float], seed: int = 0, people: int = 1,
    confused: Mapping[str, int] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A recogniser with an accuracy on each writer, who wrote two characters."""
    writers = {
        name: wrote("シツ", [round(SHOWN * value)] * 2) for name, value in accuracies.items()
    }
    pairs = [[*pair, count] for pair, count in (confused or {}).items()]
    return {"arm": str(arm), "people": people, "seed": seed, "macro_f1": 0.5, "confusions": pairs,
            "writers": writers}  # fmt: skip


def reader(
    arm: Arm, characters: Mapping[str, float], seed: int = 0, people: int = 1
) -> dict[str, Any]:
    """A recogniser with an accuracy on each character, which one person wrote."""
    right = [round(SHOWN * value) for value in characters.values()]
    own = wrote("".join(characters), right)
    return {**recogniser(arm, {}, seed, people), "writers": {"anna": own}}


def wrote(characters: str, right: list[int], shown: int = SHOWN) -> dict[str, Any]:
    """What was read of a person's characters, of each of which so many images were shown."""
    return {"characters": characters, "right": right, "in_script": right, "in_five": right,
            "shown": [shown] * len(right)}  # fmt: skip


def better(by: float, people: Mapping[str, float] = PEOPLE) -> dict[str, float]:
    return {name: value + by for name, value in people.items()}


def found_by(
    *recognisers: Mapping[str, Any], named: Arm | None = NAMED, ceiling: int = 5, num: int = 1
) -> dict[tuple[Arm, int], Finding]:
    findings = compare(results_of(recognisers), CONTROL, named, ceiling, num)
    return {(found.arm, found.people): found for found in findings}


def gain_of(*recognisers: Mapping[str, Any]) -> Gain:
    gain = found_by(*recognisers)[NAMED, 1].gain
    assert gain is not None
    return gain


# The table ----------------------------------------------------------------------------------------


def test_the_table_says_how_many_images_of_each_were_shown_and_read_right(tmp_path: Path) -> None:
    index = pd.MultiIndex.from_tuples([*[("anna", "シ")] * 3, ("anna", "ツ"), ("", "シ")])
    read = pd.DataFrame({"right": [True, False, True, False, True],
                         "in_script": [True, True, True, False, True],
                         "in_five": [True, False, True, True, True]}, index)  # fmt: skip
    path = tmp_path / "new" / "results.json"
    write_results(path, [recogniser_result(NAMED, 2, 7, read, 0.25, [("ツ", "シ", 1)])])
    key = (NAMED, 2, 7)
    assert set(result_table(read_json(path)).itertuples(index=False, name=None)) == {
        (*key, "anna", "シ", 2, 3, 2, 3), (*key, "anna", "ツ", 0, 0, 1, 1),
        (*key, "", "シ", 1, 1, 1, 1),
    }  # fmt: skip
    found = results_of(read_json(path))
    assert found.by_writer[NAMED, 2].to_dict() == {(7, ""): 1, (7, "anna"): 2 / 4}
    assert found.by_character[NAMED, 2].to_dict() == {(7, "シ"): 3 / 4, (7, "ツ"): 0}
    assert found.macro_f1 == {(NAMED, 2): [0.25]}
    assert list(found.confusions.itertuples(index=False, name=None)) == [(*key, "ツ", "シ", 1)]


def test_simulated_writers_gain_nothing_on_people_who_are_simulated() -> None:
    tested = [recogniser(CONTROL, PEOPLE), recogniser(NAMED, better(0.01))]
    tested.append(recogniser(SIMULATED, better(0.02)))
    for is_drawn_alike in (False, True):
        findings = compare(results_of(tested), CONTROL, None, 1, 1, is_drawn_alike)
        unranked = [found.arm for found in findings if not found.is_ranked]
        assert unranked == [SIMULATED] * is_drawn_alike
        assert all(found.gain is None for found in findings if found.arm in unranked)
        best = best_arm(findings, 1)
        assert best
        assert best.arm == NAMED


def test_the_order_of_a_file_changes_nothing() -> None:
    rng = random.Random(0)
    recognisers = [
        recogniser(arm, better(by + rng.gauss(0, 0.01)), seed)
        for seed in range(3)
        for arm, by in ((CONTROL, 0), (NAMED, 0.02), (OTHER, 0.01))
    ]
    expected = found_by(*recognisers)
    for one in recognisers:
        one["writers"] = dict(rng.sample(list(one["writers"].items()), len(PEOPLE)))
    assert found_by(*rng.sample(recognisers, len(recognisers))) == expected


def test_each_writer_has_the_mean_of_the_seeds_that_show_them() -> None:
    first = recogniser(CONTROL, {"anna": 0.2, "ben": 0.9})
    second = recogniser(CONTROL, {"anna": 0.4}, seed=1)
    other = recogniser(NAMED, {"chie": 0.5})
    assert per_writer(results_of([first, second, other])) == {
        (CONTROL, 1): {"anna": pytest.approx(0.3), "ben": 0.9}, (NAMED, 1): {"chie": 0.5},
    }  # fmt: skip


def test_groups_are_means_over_writers_of_means_over_seeds() -> None:
    anna, ben = wrote("かカ一海", [300, 600, 900, 500]), wrote("か", [500])
    anna["in_script"] = [400, 600, 900, 500]
    anna["in_five"] = [1000] * 4
    first = {**recogniser(CONTROL, {}), "writers": {"anna": anna, "ben": ben}}
    second = {**recogniser(CONTROL, {}, seed=1), "writers": {"anna": wrote("一", [700])}}
    results = results_of([first, second])
    found = group_shares(results.by_group, (CONTROL, 1))
    assert found == {
        "hiragana": pytest.approx((0.3 + 0.5) / 2),
        "hiragana, script known": pytest.approx((0.4 + 0.5) / 2),
        "katakana": pytest.approx(0.6),
        "kanji": pytest.approx(((0.9 + 0.5) / 2 + 0.7) / 2),
        "kanji 1-5": pytest.approx((0.9 + 0.7) / 2),
        "kanji 6-10": pytest.approx(0.5),
        "first five": pytest.approx(((1 + 0.7) / 2 + 0.5) / 2),
    }
    assert [*found][:4] == ["hiragana", "hiragana, script known", "katakana", "kanji"]


def test_people_of_earlier_runs_are_among_the_comparisons() -> None:
    gains = np.array([0.05, 0.02, 0.06, 0.01, 0.04])
    others = {name: own + gain for (name, own), gain in zip(PEOPLE.items(), gains, strict=True)}
    told = [
        recogniser(arm, found, people=people)
        for people in (1, 2) for arm, found in ((CONTROL, PEOPLE), (NAMED, others))
    ]  # fmt: skip
    grid = Evidence([str(CONTROL), str(NAMED)], str(CONTROL), people=[1], named_arm=str(NAMED))
    found = compared(grid, results_of(told), Path(), {})
    one, two = (f.gain.interval for f in found.findings if f.gain)
    assert one == two == pytest.approx(interval(gains, confidence=1 - 0.05 / 2))


def test_gains_on_groups_are_paired_by_seed_and_writer() -> None:
    def read(arm: Arm, seed: int, **right: int) -> dict[str, Any]:
        writers = {name: wrote("か海", [right[name], 500]) for name in right}
        return {**recogniser(arm, {}, seed=seed), "writers": writers}

    results = results_of(
        [read(CONTROL, 0, anna=300, ben=500), read(CONTROL, 1, anna=500, chie=100),
         read(NAMED, 0, anna=400, ben=800), read(NAMED, 1, anna=600), read(NAMED, 2, ben=1000)]
    )  # fmt: skip
    found = group_gains(results, (NAMED, 1), (CONTROL, 1))
    gain, bounds = found["hiragana"]
    assert gain == pytest.approx((0.1 + 0.3) / 2)
    assert bounds == pytest.approx(interval(np.array([0.1, 0.3])))
    assert found["kanji"] == found["kanji 6-10"] == (0, (0, 0))


# Pairing ------------------------------------------------------------------------------------------


def test_an_accuracy_is_the_mean_over_writers_each_over_seeds() -> None:
    first = recogniser(CONTROL, {"anna": 0.2, "ben": 0.9})
    first["writers"]["ben"] = wrote("シツ", [5, 4], shown=5)
    second = recogniser(CONTROL, {"anna": 0.4, "chie": 0.6}, seed=1)
    found = found_by(first, {**second, "macro_f1": 0.6})[CONTROL, 1]
    assert found.accuracy == pytest.approx((0.3 + 0.9 + 0.6) / 3)
    assert found.interval == pytest.approx(accuracy_interval(np.array([0.3, 0.9, 0.6])))
    assert found.macro_f1 == pytest.approx(0.55)
    assert (found.num_seeds, found.num_writers) == (2, 3)


def test_a_constant_gain_has_no_spread_and_the_smallest_p() -> None:
    gain = gain_of(recogniser(CONTROL, PEOPLE), recogniser(NAMED, better(0.05)))
    assert gain.gain == pytest.approx(0.05)
    assert gain.interval == pytest.approx((0.05, 0.05))
    assert gain.p == pytest.approx(2 / 2 ** len(PEOPLE))
    assert (gain.num_seeds, gain.num_writers) == (1, 5)


def test_a_missing_cell_does_not_bias_a_gain() -> None:
    """The control was not tested yet with the seed of people who are hard to read."""
    arm = [recogniser(NAMED, better(0.02)), recogniser(NAMED, better(-0.3), seed=1)]
    gain = gain_of(*arm, recogniser(CONTROL, PEOPLE))
    assert gain.gain == pytest.approx(0.02)
    assert gain.num_seeds == 1
    # Nor do writers whom one of the two was not tested on.
    without = {name: value for name, value in PEOPLE.items() if name != "chie"}
    gain = gain_of(arm[0], recogniser(CONTROL, without))
    assert gain.gain == pytest.approx(0.02)
    assert gain.num_writers == 4


def test_an_arm_without_a_seed_in_common_has_no_gain() -> None:
    found = found_by(recogniser(CONTROL, PEOPLE), recogniser(NAMED, PEOPLE, seed=1))
    assert found[NAMED, 1].gain is None
    assert found[CONTROL, 1].gain is None  # nor the control over itself
    assert found_by(recogniser(NAMED, PEOPLE))[NAMED, 1].gain is None


# The gap ------------------------------------------------------------------------------------------


def gap_of(arm: float, ceiling: Mapping[str, float]) -> Gap:
    gap = found_by(
        recogniser(CONTROL, PEOPLE), recogniser(NAMED, better(arm)),
        recogniser(CONTROL, ceiling, people=5),
    )[NAMED, 1].gap  # fmt: skip
    assert gap is not None
    return gap


@pytest.mark.parametrize(("arm", "closed"), [(0.03, 0.3), (0.1, 1.0), (-0.05, -0.5), (0.0, 0.0)])
def test_the_share_of_the_gap(arm: float, closed: float) -> None:
    gap = gap_of(arm, better(0.1))
    assert gap.size == pytest.approx(0.1)
    assert gap.interval == pytest.approx((0.1, 0.1))
    assert gap.closed == pytest.approx(closed)


def test_a_share_of_no_gap_is_none() -> None:
    assert gap_of(0.05, PEOPLE).closed is gap_of(0.05, better(-0.1)).closed is None
    one = gap_of(0.05, {**PEOPLE, "anna": 0.5})  # a gap for one person
    assert one.size > 0
    assert one.closed is None


def test_a_gap_is_over_the_seeds_that_arm_control_and_ceiling_have() -> None:
    hard = better(-0.3)
    tested = [
        recogniser(CONTROL, PEOPLE), recogniser(CONTROL, hard, seed=1),
        recogniser(NAMED, better(0.02)), recogniser(NAMED, hard, seed=1),
    ]  # fmt: skip
    assert found_by(*tested)[NAMED, 1].gap is None  # the ceiling was not tested yet
    found = found_by(*tested, recogniser(CONTROL, better(0.1), people=5))[NAMED, 1]
    assert found.gap is not None
    assert (found.gap.size, found.gap.closed) == pytest.approx((0.1, 0.2))
    assert found.gap.num_seeds == 1
    assert found.gain is not None
    assert found.gain.gain == pytest.approx(0.01)


# Several arms -------------------------------------------------------------------------------------


def test_candidates_are_corrected_for_each_other_and_controls_are_not() -> None:
    rng = np.random.default_rng(0)
    noisy = [{n: v + rng.normal(0.02, 0.02) for n, v in PEOPLE.items()} for _ in range(3)]
    tested = [
        recogniser(REAL, better(-0.1)), recogniser(CONTROL, PEOPLE), recogniser(OTHER, noisy[0]),
        recogniser(SIMULATED, noisy[2]), recogniser(NAMED, better(0.05)),
        recogniser(CONTROL, PEOPLE, people=5), recogniser(NAMED, noisy[1], people=5),
    ]  # fmt: skip
    for named, candidates in (
        (NAMED, {(NAMED, 1), (OTHER, 1), (NAMED, 5)}),
        (SIMULATED, {(NAMED, 1), (OTHER, 1), (NAMED, 5), (SIMULATED, 1)}),
    ):
        gains = {place: f.gain for place, f in found_by(*tested, named=named).items() if f.gain}
        assert gains.keys() == {(REAL, 1), (SIMULATED, 1), (NAMED, 1), (OTHER, 1), (NAMED, 5)}
        corrected = {p: g.corrected_p for p, g in gains.items() if g.corrected_p is not None}
        assert corrected.keys() == candidates
        smallest = len(candidates) * 2 / 2**5
        assert corrected[NAMED, 1] == pytest.approx(smallest)
        assert all(p >= gains[place].p for place, p in corrected.items())


def test_an_interval_of_a_gain_is_corrected_for_what_was_planned() -> None:
    tested = recogniser(CONTROL, PEOPLE), recogniser(NAMED, {**better(0.1), "anna": 0.4})
    gains = np.array([0, 0.1, 0.1, 0.1, 0.1])
    for num, confidence in ((1, 0.95), (10, 0.995)):
        gain = found_by(*tested, num=num)[NAMED, 1].gain
        assert gain is not None
        assert gain.interval == pytest.approx(interval(gains, confidence))


def test_the_best_arm_is_the_candidate_that_gains_most() -> None:
    tested = [
        recogniser(REAL, better(0.05)),  # no candidate
        recogniser(CONTROL, PEOPLE), recogniser(CONTROL, better(-0.3), seed=1),
        recogniser(NAMED, better(0.02)), recogniser(NAMED, better(-0.28), seed=1),
        recogniser(OTHER, better(0.01)),  # looks better: not tested on the hard seed
    ]  # fmt: skip
    findings = compare(results_of(tested), CONTROL, None, 1, 1)
    best = best_arm(findings, 1)
    assert best is not None
    assert best.arm == NAMED
    assert best_arm(findings, 5) is None
    controls = [found for found in findings if found.arm.is_control]
    best = best_arm(controls, 1)  # where there is no candidate
    assert best is not None
    assert best.arm == REAL


def test_the_worst_tenth_is_over_the_means_of_seeds() -> None:
    characters = {chr(0x30A2 + i): 0.5 + i / 100 for i in range(20)}
    unlucky = {**characters, chr(0x30A2 + 19): 0.0}  # once, in one of two seeds
    found = found_by(reader(CONTROL, characters), reader(CONTROL, unlucky, seed=1))
    assert found[CONTROL, 1].worst_tenth == pytest.approx((0.69 / 2 + 0.5) / 2)


# Characters ---------------------------------------------------------------------------------------


def test_gains_of_characters_are_over_shared_seeds() -> None:
    found = results_of(
        [
            *(reader(NAMED, {"シ": 0.5 + s / 10, "ツ": 1.0, "ン": 0.0}, s) for s in range(4)),
            *(reader(CONTROL, {"シ": 0.5, "ツ": 0.75}, s) for s in (0, 1, 2, 9)),
            *(reader(arm, {"シ": 0.5}, people=2) for arm in (NAMED, CONTROL)),
        ]
    )
    gains = character_gains(found, (NAMED, 1), (CONTROL, 1))
    assert gains.keys() == {"シ", "ツ"}
    assert gains["ツ"] == (0.25, (0.25, 0.25))
    assert gains["シ"][0] == pytest.approx(0.1)
    half = 4.30265 * 0.1 / 3**0.5  # Student's t with two degrees of freedom
    assert gains["シ"][1] == pytest.approx((0.1 - half, 0.1 + half), abs=1e-5)
    one = character_gains(found, (NAMED, 2), (CONTROL, 2))
    assert one == {"シ": (0.0, None)}


def test_confusions_are_summed_over_shared_seeds_most_frequent_first() -> None:
    wrong = [{"シツ": 1}, {"ソン": 2}, {"シツ": 100}]
    found = results_of(
        [
            *(recogniser(NAMED, PEOPLE, s, confused=pairs) for s, pairs in enumerate(wrong)),
            *(recogniser(CONTROL, PEOPLE, s, confused={"アマ": 1, "シツ": 3}) for s in (0, 1)),
            recogniser(NAMED, PEOPLE, people=2, confused={"シツ": 50}),
        ]
    )
    rows = confusions(found, (NAMED, 1), (CONTROL, 1)).to_dict("split")["data"]
    assert rows == [["シ", "ツ", 6, 1], ["ア", "マ", 2, 0], ["ソ", "ン", 0, 2]]


def test_look_alikes_count_both_ways_where_both_are_classes() -> None:
    found = pd.DataFrame(
        [["シ", "ツ", 6, 1], ["ツ", "シ", 2, 4], ["シ", "ン", 9, 9], ["未", "末", 5, 5]],
        columns=["written", "read", "control", "arm"],
    )
    rows = look_alikes(found, set("シツソン未")).to_dict("split")["data"]
    assert ["シ", "ツ", 8, 5] in rows
    assert ["ソ", "ン", 0, 0] in rows
    assert not [row for row in rows if "未" in row]
