"""Can the outside judge read generated kanji?

    python -m benchmarks.legibility runs/study/generated/adain_clip/manifest.json
    python -m benchmarks.legibility MANIFEST --unseen held_out

It reads random kanji of a manifest, choosing among the 2,965 of JIS level 1
(``measures/outside_judge.py``; needs the extra ``judge``). Reports the share read as intended, also
by number of strokes and, with ``--unseen`` (a list of characters), separately for those. Ends in
one line of JSON.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handwriting.characters.classes import class_list, named_lists
from handwriting.characters.groups import STROKES, group_of
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import pack_manifest
from handwriting.sources.handwritten_strokes import SIZE_PX, is_readable
from training_character_classification.measures import outside_judge
from training_character_classification.measures.outside_judge import OutsideJudge


def shares_read(characters: Sequence[str], is_read: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """The share of N images of characters that is read, over all and by number of strokes."""
    groups = np.array([group_of(character) for character in characters])
    by_strokes = {name: is_read[groups == f"kanji {name}"] for name in STROKES}
    return {
        "judge": outside_judge.installed(),
        "num_read": len(is_read),
        "read_as_intended": mean(is_read),
        "read_as_intended_by_strokes": {name: mean(part) for name, part in by_strokes.items()},
    }


def mean(values: npt.NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--unseen", default="", help="list of characters to report separately")
    parser.add_argument("--limit", type=int, default=1000, help="images, at random")
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    arguments = parser.parse_args()
    packed = pack_manifest(read_manifest(arguments.manifest), SIZE_PX, arguments.cache)
    kanji = [character for character in named_lists()["kanji"] if is_readable(character)]
    place, judge = {character: i for i, character in enumerate(kanji)}, OutsideJudge(kanji)
    shown = np.array(packed.characters)[packed.labels]
    known = [i for i, c in enumerate(shown) if c in place and judge.knows[place[c]]]
    if not known:
        raise SystemExit(f"{arguments.manifest} has no kanji of JIS level 1")
    rows = np.sort(np.random.default_rng(0).permutation(known)[: arguments.limit])
    is_read = judge.predict(packed.images[rows]) == [place[c] for c in shown[rows]]
    result = shares_read(shown[rows], is_read)
    if arguments.unseen:
        is_unseen = np.isin(shown[rows], class_list(arguments.unseen))
        result["read_as_intended_seen"] = mean(is_read[~is_unseen])
        result["read_as_intended_unseen"] = mean(is_read[is_unseen])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
