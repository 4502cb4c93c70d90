"""What people wrote, next to what generators made in their hands."""

from collections.abc import Mapping, Sequence
from itertools import chain, filterfalse, zip_longest

import numpy as np

from handwriting.characters.classes import is_kanji
from handwriting.images.canonical import Uint8
from handwriting.images.packed import PackedImages
from handwriting.sources.handwritten_strokes import is_readable
from handwriting.sources.strokes import draw_canonical, read_drawing

NUM_PEOPLE, NUM_CHARACTERS = 4, 14  # at most, in the picture
MODEL_RADIUS = 0.026  # em, of the pen that draws KanjiVG's strokes

Images = dict[tuple[str, str], Uint8]  # (writer, character) -> the first such image


def rows_of_people(
    given: PackedImages, generated: Mapping[str, PackedImages]
) -> dict[str, dict[str, Uint8]]:
    """A block of rows for each of several people, over characters that all of them wrote.

    Args:
        given: what they wrote.
        generated: by generator; one that does not imitate writers gets no row.

    Returns:
        writer -> label -> images (N, H, W): given, KanjiVG's drawings, and what each generator made
        in this hand, blank where it made none. Empty if there are no people, or no characters that
        all of them wrote and KanjiVG has.
    """
    written = _first_of(given)
    people = given.present_writers()[:NUM_PEOPLE]
    common = [c for c in given.characters if all((person, c) in written for person in people)]
    characters = chosen([*filter(is_readable, common)])
    if not (people and characters):
        return {}
    models = np.stack([_model(character, given.size_px) for character in characters])
    made = {name: _first_of(images) for name, images in generated.items()}
    blank = np.zeros_like(models[0])
    blocks = {}
    for person in people:
        rows = {"given": np.stack([written[person, c] for c in characters]), "KanjiVG": models}
        for name, images in made.items():
            own = [images.get((person, character), blank) for character in characters]
            if np.any(own):
                rows[name] = np.stack(own)
        blocks[person] = rows
    return blocks


def chosen(characters: Sequence[str]) -> list[str]:
    """At most ``NUM_CHARACTERS``: kanji and others alternating, each spread over the whole list."""
    kinds = ([*kind(is_kanji, characters)] for kind in (filter, filterfalse))
    by_turns = chain.from_iterable(zip_longest(*map(_spread, kinds)))
    return [character for character in by_turns if character][:NUM_CHARACTERS]


def _spread(characters: Sequence[str]) -> list[str]:
    count = min(len(characters), NUM_CHARACTERS)
    return [characters[i * len(characters) // count] for i in range(count)]


def _first_of(packed: PackedImages) -> Images:
    found: Images = {}
    for i, (writer, label) in enumerate(zip(packed.writers, packed.labels, strict=True)):
        key = packed.writer_names[writer], packed.characters[label]
        if key not in found:
            found[key] = packed.images[i]
    return found


def _model(character: str, size_px: int) -> Uint8:
    strokes = read_drawing(character).strokes
    return draw_canonical([(strokes, np.full(strokes.shape[:2], MODEL_RADIUS))], size_px)[0]
