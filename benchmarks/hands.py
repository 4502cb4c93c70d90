"""Are characters that a person did not write drawn as the person would write them?

    python -m benchmarks.hands data/omniglot_katakana/manifest.json --num-known 23
    python -m benchmarks.hands data/tomoe/manifest.json --num-known 100 \\
        --truth data/tomoe/strokes.json

A given number of each person's characters are known: the strokes read from their images make up
the hand. The others are drawn in this hand and compared with what the person wrote. Results are
means over five random sets of known characters, the same for all people; ends in one line of JSON.

``distance`` is to the true pen strokes if they are given, otherwise to those that were read, as in
``benchmarks.strokes``; ``distance_model`` is that of KanjiVG's drawing. ``author_found_images`` is
the share of images for which, among the drawings of their character in all hands, the nearest is in
their writer's; ``author_found_hands`` is the share of people so identified by all of their images.
Drawings are compared by the pen's moves from each point of a stroke to the next and by its width:
``MOVES`` times the squared difference of the moves relative to its mean for the character, plus
that of the logarithms of the widths relative to its size within a hand. Slant, width and proportion
are correlated over people with those of what was read from the images of unknown characters.

If the extra ``judge`` is installed, ``read_as_intended`` is the share of kanji that the outside
judge (``measures/outside_judge.py``) reads among the 2,965: of ``num_read`` that it knows and that
are in nobody's known set, drawn in the people's hands in turn; also by number of strokes, and of
``DENSE``, drawn in every hand.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.legibility import shares_read
from benchmarks.strokes import distance, truths
from handwriting.characters.classes import named_lists
from handwriting.images.canonical import Uint8
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import PackedImages, pack_manifest
from handwriting.images.sheets import save_png, sheet
from handwriting.runs.inference import stroke_reader
from handwriting.sources.hand_drawings import draw
from handwriting.sources.hand_process import predict
from handwriting.sources.hands import Hand, boxed, hand_of, scale_to_box
from handwriting.sources.handwritten_strokes import (
    MODEL_RADIUS,
    SIZE_PX,
    Reader,
    is_readable,
    model_of,
    read_strokes,
)
from handwriting.sources.strokes import Float64
from training_character_classification.measures import outside_judge
from training_character_classification.measures.outside_judge import OutsideJudge

MOVES = 6.0  # weight of the pen's moves, that of its width being 1
NUM_SETS = 5
DENSE = "摂働娯帯悪剤焔嚢"
NUM_SHOWN = 12  # unseen characters on the sheet
SHOWN = DENSE + "愛書永海河湖語"


def moves(strokes: Float64) -> Float64:
    """The moves from each point to the next, (S, P - 1, 2)."""
    return np.diff(boxed(strokes), axis=1)


def style(strokes: list[Float64], models: list[Float64]) -> tuple[float, float]:
    """Slant, and logarithm of width over height, of the map that makes models these drawings."""
    theirs, ours = (
        np.concatenate([(part - part.mean(axis=(0, 1))).reshape(-1, 2) for part in parts])
        for parts in (models, strokes)
    )
    matrix = np.linalg.lstsq(theirs, ours, rcond=None)[0]
    return matrix[1, 0] / matrix[1, 1], np.log(abs(matrix[0, 0] / matrix[1, 1]))


def found(apart: npt.NDArray[Any]) -> tuple[float, float]:
    """Shares of images and of people that are nearest to their own of hands.

    Args:
        apart: (people, hands, characters); NaN where an image could not be read.
    """
    own = np.arange(len(apart))[:, None]
    readable = np.isfinite(apart).all(axis=1)  # (people, characters)
    nearest = np.where(np.isfinite(apart), apart, np.inf).argmin(axis=1)
    images = ((nearest == own) & readable).mean()  # what is refused is not found
    hands = (np.nansum(apart, axis=2).argmin(axis=1) == own[:, 0]).mean()
    return float(images), float(hands)


class Written:
    """What several people wrote: the first image of each person and label.

    Attributes:
        labels: of the characters that all of them wrote.
    """

    def __init__(self, packed: PackedImages, truth: list[Float64 | None] | None) -> None:
        self.packed, self.truth = packed, truth
        self.people = range(len(packed.writer_names))
        self.rows: dict[tuple[int, int], int] = {}
        keys = zip(packed.writers.tolist(), packed.labels.tolist(), strict=True)
        for row, (person, label) in enumerate(keys):
            has_truth = truth is None or truth[row] is not None
            if has_truth and is_readable(packed.characters[label]):
                self.rows.setdefault((person, label), row)
        everything = range(len(packed.characters))
        self.labels = [i for i in everything if all((p, i) in self.rows for p in self.people)]

    def read(self, labels: set[int], reader: Reader, keys: Sequence[str], cache: Path) -> None:
        rows = sorted(self.rows[person, label] for person in self.people for label in labels)
        self.chosen = self.packed.select(rows)
        self.found = read_strokes(self.chosen, reader, keys, cache)
        self.place = {row: i for i, row in enumerate(rows)}

    def hand(self, person: int, known: list[int]) -> Hand:
        rows = [self.place[self.rows[person, label]] for label in known]
        chosen, found = self.chosen.select(rows), self.found.select(rows)
        name = self.packed.writer_names[person]
        if not found.accepted.any():  # nothing is known of this person
            models = {c: boxed(model_of(c).strokes) for c in self.characters(known)}
            return Hand(name, models, MODEL_RADIUS)
        return hand_of(chosen, found, name)

    def characters(self, labels: list[int]) -> list[str]:
        return [self.packed.characters[label] for label in labels]

    def strokes(self, person: int, label: int) -> tuple[Float64, float] | None:
        """The strokes read from an image, in a box, and its pen's radius; None if refused."""
        i = self.place[self.rows[person, label]]
        if not self.found.accepted[i]:
            return None
        own = self.found.of(i)
        return boxed(own), float(self.found.radii[i]) * scale_to_box(own)

    def written(self, person: int, label: int) -> Float64 | None:
        """The true strokes if given, otherwise those that were read."""
        if self.truth is not None:
            return self.truth[self.rows[person, label]]
        own = self.strokes(person, label)
        return None if own is None else own[0]


def measures(written: Written, known: list[int], unseen: list[int]) -> dict[str, float | None]:
    """The measures for one set of known characters."""
    characters = written.characters(unseen)
    hands = [written.hand(person, known) for person in written.people]
    drawn = [predict(hand, characters) for hand in hands]
    apart, apart_model = list[float](), list[float]()
    for person in written.people:
        for label, character in zip(unseen, characters, strict=True):
            truth = written.written(person, label)
            if truth is not None:
                apart.append(distance(drawn[person][character], truth))
                apart_model.append(distance(model_of(character).strokes, truth))
    result: dict[str, float | None] = {
        "distance": float(np.mean(apart)), "distance_model": float(np.mean(apart_model)),
        "author_found_images": None, "author_found_hands": None,
        "slant": None, "width": None, "proportion": None,
    }  # fmt: skip
    if len(hands) == 1:
        return result

    shape = (len(hands), len(hands), len(unseen))
    of_moves, of_width = np.full(shape, np.nan), np.full(shape, np.nan)
    read = [[written.strokes(person, label) for label in unseen] for person in written.people]
    for person, i in itertools.product(written.people, range(len(unseen))):
        if (own := read[person][i]) is not None:
            for other, hand in enumerate(hands):
                difference = moves(drawn[other][characters[i]]) - moves(own[0])
                of_moves[person, other, i] = np.square(difference).sum(axis=-1).mean()
                of_width[person, other, i] = np.log(own[1] / hand.radius_of(characters[i])) ** 2
    within = np.nanmean(np.diagonal(of_width))  # about a hand's own width
    apart_all = MOVES * of_moves / np.nanmean(of_moves, axis=(0, 1)) + of_width / within
    images, people = found(apart_all)
    result |= {"author_found_images": images, "author_found_hands": people}

    styles = []
    for person, hand in enumerate(hands):
        seen = [i for i in range(len(unseen)) if read[person][i] is not None]
        models = [boxed(model_of(characters[i]).strokes) for i in seen]
        own = [read[person][i] for i in seen]
        theirs = style([part[0] for part in own if part], models)
        ours = style([drawn[person][characters[i]] for i in seen], models)
        width = float(np.median([part[1] for part in own if part]))
        own_width = float(np.median([hand.radius_of(characters[i]) for i in seen]))
        styles.append([*theirs, np.log(width), *ours, np.log(own_width)])
    correlations = np.corrcoef(np.array(styles).T)
    for i, name in enumerate(("slant", "proportion", "width")):
        result[name] = float(correlations[i, i + 3])
    return result


def readings(written: Written, sets: list[list[int]], num_read: int) -> dict[str, Any]:
    """The outside judge's accuracy on kanji predicted from sets of known labels."""
    kanji = [character for character in named_lists()["kanji"] if is_readable(character)]
    place = {character: i for i, character in enumerate(kanji)}
    judge = OutsideJudge(kanji)
    shown, read, read_dense = list[str](), list[bool](), list[bool]()
    for i, known in enumerate(sets):
        unseen = set(kanji).difference(written.characters(known))
        asked = [c for c in np.random.default_rng(i).permutation(kanji) if c in unseen]
        asked = [c for c in asked if judge.knows[place[c]]][:num_read]
        dense = [c for c in DENSE if c in unseen]
        for person in written.people:
            own = asked[person :: len(written.people)]
            images = draw(written.hand(person, known), own + dense, SIZE_PX)
            found = judge.predict(images) == [place[c] for c in own + dense]
            shown += own
            read += found[: len(own)].tolist()
            read_dense += found[len(own) :].tolist()
    dense_read = {"read_as_intended_dense": float(np.mean(read_dense))}
    return shares_read(shown, np.array(read)) | dense_read


def sheet_rows(written: Written, known: list[int], characters: str) -> list[Uint8]:
    """KanjiVG's drawings; for each person what they wrote, if anything, above what is predicted."""
    models = {character: boxed(model_of(character).strokes) for character in characters}
    rows = [draw(Hand("KanjiVG", models, MODEL_RADIUS), characters, SIZE_PX)]
    label_of = {character: i for i, character in enumerate(written.packed.characters)}
    for person in written.people:
        own = [written.rows.get((person, label_of.get(character, -1))) for character in characters]
        truth = np.zeros_like(rows[0])
        for image, row in zip(truth, own, strict=True):
            if row is not None:
                image[:] = written.packed.images[row]
        rows += [truth] * bool(truth.any())
        rows.append(draw(written.hand(person, known), characters, SIZE_PX))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--num-known", type=int, required=True)
    parser.add_argument("--truth", type=Path, help="pen strokes of each image, JSON")
    parser.add_argument("--limit", type=int, default=400, help="unseen characters, at random")
    parser.add_argument(
        "--num-read", type=int, default=400, help="kanji of each set, for the judge"
    )
    parser.add_argument("--weights", type=Path, help="of a reader; default: those that ship")
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument(
        "--sheet", type=Path, help="PNG: KanjiVG, then each person's truth and predictions"
    )
    parser.add_argument("--characters", help="on the sheet; default: unseen ones and some kanji")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    packed = pack_manifest(read_manifest(arguments.manifest), SIZE_PX, arguments.cache)
    written = Written(packed, truths(packed, arguments.truth) if arguments.truth else None)
    num_known, num_labels = arguments.num_known, len(written.labels)
    if not 0 < num_known < num_labels:
        raise SystemExit(
            f"--num-known {num_known}: expected 1 to {num_labels - 1}, since everybody wrote "
            f"{num_labels} characters"
        )
    orders = [
        np.random.default_rng(i).permutation(written.labels).tolist() for i in range(NUM_SETS)
    ]
    sets = [(order[:num_known], order[num_known:][: arguments.limit]) for order in orders]
    # With one person and the truth given, only known characters need to be read.
    all_needed = len(written.people) > 1 or not arguments.truth
    needed = {label for known, unseen in sets for label in known + all_needed * unseen}
    written.read(needed, *stroke_reader(arguments.weights), arguments.cache)

    results = [measures(written, *chosen) for chosen in sets]
    means = {
        key: None if results[0][key] is None else float(np.mean([r[key] for r in results]))  # type: ignore[arg-type]
        for key in results[0]
    }
    if outside_judge.installed():
        means |= readings(written, [known for known, _ in sets], arguments.num_read)
    if arguments.sheet:
        known, unseen = sets[0]
        characters = arguments.characters or "".join(
            dict.fromkeys([*written.characters(unseen[:NUM_SHOWN]), *SHOWN])
        )
        save_png(arguments.sheet, sheet(sheet_rows(written, known, characters)))
    print(json.dumps({"num_people": len(written.people), "num_known": num_known, **means}))


if __name__ == "__main__":
    main()
