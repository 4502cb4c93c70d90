"""The tables of README.md and docs/results.md, from the results that are stored in docs/results.

    python -m benchmarks.results           # list the pages that differ from the results
    python -m benchmarks.results --write   # write the tables into the pages

A table is between two comments, ``<!-- table: NAME -->`` and ``<!-- end -->``. Gains are over
the control of the experiment; their intervals are over writers, 95 % after Bonferroni's correction
for the arms and numbers of people that were planned, and bold where they exclude zero.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from handwriting.script import compose
from training_character_classification.arms import Arm
from training_character_classification.report.comparison import Comparison
from training_character_classification.report.evidence import compared
from training_character_classification.report.results import (
    Estimate,
    Finding,
    is_candidate,
    read_results,
    results_of,
)

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "README.md", ROOT / "docs" / "results.md"
TABLE = re.compile(r"(<!-- table: (\w+) -->\n)(?:\|.*\n)*(<!-- end -->)")
GRIDS = {  # name of the file of results -> what differs from the experiment
    "zero_real": ["experiment=zero_real"],
    "evidence": ["experiment=evidence"],
    "evidence_packaged": [
        "experiment=evidence", "evidence.people=[1,2]",
        "evidence.arms=[real+fonts+classical,real+fonts+simulated+classical,"
        "real+fonts+redrawn+classical,real+fonts+adain_clip+classical,"
        "real+fonts+simulated+redrawn+classical,real+fonts+simulated+adain_clip+classical]",
    ],
    "evidence_kanji": ["experiment=evidence_kanji"],
    "evidence_tomoe": [
        "experiment=evidence_kanji", "evidence.people=[1]",
        "evidence.arms=[real,real+fonts+classical,real+fonts+simulated+classical,"
        "real+fonts+redrawn+classical,real+fonts+adain_clip+classical,"
        "real+fonts+simulated+redrawn+classical]",
    ],
}  # fmt: skip
NAMES = {
    "simulated": "simulated writers", "redrawn": "hands redrawn", "morphed": "hands morphed",
    **{name: f"style transfer ({name})" for name in ("adain", "adain_mlp", "adain_clip")},
}  # fmt: skip
WORDS = {1: "one person", 2: "two people", 3: "three people", 5: "five people"}


def stored(name: str) -> Path:
    return ROOT / "docs" / "results" / f"{name}.json"


@cache
def grid(name: str) -> Comparison:
    config = compose(GRIDS[name])
    results = results_of(read_results(stored(name)))
    return compared(config.evidence, results, Path(), {})


def share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def cell(accuracy: float, gained: Estimate | None) -> str:
    return f"{share(accuracy)} {gain(gained)}" if gained else share(accuracy)


def over_all(found: Finding) -> str:
    return cell(found.accuracy, (found.gain.gain, found.gain.interval) if found.gain else None)


def gain(estimate: Estimate) -> str:
    value, bounds = estimate
    if bounds is None:
        return signed(value)
    text = f"{signed(value)} ({signed(bounds[0])} to {signed(bounds[1])})"
    return f"**{text}**" if bounds[0] > 0 or bounds[1] < 0 else text


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("0.", ".", 1)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def by_script(name: str, columns: Sequence[str]) -> str:
    """The accuracy and gain of each arm of a grid, by group of characters and overall."""
    found = grid(name)
    rows = []
    for each in found.findings:
        place = each.arm, each.people
        gains = found.group_gains.get(place, {})
        cells = [cell(found.groups[place][column], gains.get(column)) for column in columns]
        rows.append([role(found, each.arm), *cells, over_all(each)])
    return markdown(["sees", *columns, "all"], rows)


def by_people(name: str) -> str:
    """The accuracy and gain of each arm, by number of people."""
    found = grid(name)
    numbers = sorted({each.people for each in found.findings})
    cells: dict[Arm, dict[int, str]] = {}
    for each in found.findings:
        cells.setdefault(each.arm, {})[each.people] = over_all(each)
    rows = [[role(found, arm), *(own.get(n, "") for n in numbers)] for arm, own in cells.items()]
    return markdown(["sees", *(WORDS[number] for number in numbers)], rows)


def hardest(name: str) -> str:
    """For each number of people, the writer whom the control reads worst, and the best arm."""
    found, rows = grid(name), []
    assert found.named
    for people in sorted({each.people for each in found.findings}):
        read = {arm: own for (arm, number), own in found.writers.items() if number == people}
        control = read[found.control]
        writer = min(control, key=lambda name: control[name])
        best = max(read, key=lambda arm: read[arm].get(writer, 0.0))
        rows.append(
            [
                WORDS[people], writer, share(control[writer]), share(read[found.named][writer]),
                f"`{best}` {share(read[best][writer])}",
            ]
        )  # fmt: skip
    return markdown(["", "read worst", "control", "named beforehand", "best of all"], rows)


def role(found: Comparison, arm: Arm) -> str:
    marks = {found.control: " (control)", found.named: " (named beforehand)"}
    return f"`{arm}`{marks.get(arm, '')}"


def in_short() -> str:
    """README's table: does it help, and when?"""
    cases = (
        ("no real handwriting", "katakana, any of 3,057 allowed", "zero_real", 5, "katakana"),
        ("", "katakana, only katakana allowed", "zero_real", 5, "katakana, script known"),
        ("", "kanji, any of 3,057 allowed", "zero_real", 5, "kanji"),
        *(
            (f"{WORDS[n]}'s, 4 fonts", "47 katakana", "evidence_packaged", n, "katakana")
            for n in (1, 2)
        ),
        *(
            (f"{WORDS[n]}'s, 171 fonts", "47 katakana", "evidence", n, "katakana")
            for n in (1, 2, 5)
        ),
        *((f"{WORDS[n]}'s (fonts)", "300 kanji", "evidence_kanji", n, "kanji") for n in (1, 3)),
    )
    rows = []
    for has, reads, name, people, group in cases:
        if not stored(name).is_file():
            continue
        found = grid(name)
        read = {arm: own[group] for (arm, n), own in found.groups.items() if n == people}
        gains = {
            arm: own[group]
            for (arm, n), own in found.group_gains.items()
            if n == people and is_candidate(arm, found.named)
        }
        best = max(gains, key=lambda arm: gains[arm][0])
        named = found.named
        assert named
        also = ", ".join(NAMES.get(s, s) for s in best.sources if s not in found.control.sources)
        rows.append(
            [
                has, reads, share(read[found.control]), share(read[named]), gain(gains[named]),
                f"{also}: {share(read[best])}, {gain(gains[best])}",
            ]
        )  # fmt: skip
    head = (
        "you have", "to read", "control", "simulated writers too", "gain", "best of all, sees too",
    )  # fmt: skip
    return markdown(head, rows)


SCRIPTS = ("hiragana, script known", "katakana, script known", "kanji", "first five")
TABLES: dict[str, Callable[[], str]] = {
    "in_short": in_short,
    "zero_real": lambda: by_script("zero_real", SCRIPTS),
    "evidence": lambda: by_people("evidence"),
    "evidence_packaged": lambda: by_people("evidence_packaged"),
    "evidence_hardest": lambda: hardest("evidence"),
    "evidence_kanji": lambda: by_people("evidence_kanji"),
    "evidence_tomoe": lambda: by_people("evidence_tomoe"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the tables into the pages")
    arguments = parser.parse_args()
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = with_tables(text)
        if new == text:
            continue
        stale.append(page.name)
        if arguments.write:
            page.write_text(new, encoding="utf-8")
    print("\n".join(stale) or "all tables match the results")
    sys.exit(bool(stale) and not arguments.write)


def with_tables(text: str) -> str:
    """A page with its tables regenerated."""
    return TABLE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


if __name__ == "__main__":
    main()
