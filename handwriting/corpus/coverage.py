"""How many of the 3,057 characters have a text, a stroke drawing, and a glyph in each font.

python -m handwriting.coverage            # the packaged fonts
python -m handwriting.coverage --system   # and every installed Japanese font
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from handwriting.characters import kanjivg
from handwriting.characters.classes import class_list
from handwriting.characters.decomposition import structure_of, texts_of
from handwriting.characters.vocabulary import Vocabulary
from handwriting.errors import InputError
from handwriting.parallel.progress import progress
from handwriting.sources.fonts import PACKAGES, FontFace, find_fonts
from handwriting.sources.glyphs import render_font

SIZE_PX = 32  # enough to tell blank, missing and shared glyphs


def text_rows(characters: Sequence[str]) -> list[tuple[str, str]]:
    """Counts about strokes and structure texts."""
    structure = structure_of(characters)
    drawn = sum(kanjivg.has_drawing(c) for c in characters)
    divided = [c for c in characters if structure[c] != ((c,),)]
    owners = Counter(text for c in characters for text in texts_of(c))
    shared = [text for text, count in owners.items() if count > 1]
    marked = [c for c in divided if c in structure[c][0]]
    num_texts = sum(len(texts) for texts in structure.values())
    lengths = [len(text) for texts in structure.values() for text in texts]
    return [
        ("characters", f"{len(characters)}"),
        ("with a stroke drawing", f"{drawn}"),
        ("with a decomposition", f"{len(divided)}"),
        ("their own single token", f"{len(characters) - len(divided)}"),
        ("component tokens", f"{len(Vocabulary.from_structure(structure)) - 4}"),
        ("texts", f"{num_texts}, longest {max(lengths)} tokens"),
        ("texts shared by characters", f"{len(shared)}, resolved"),
        ("told apart by their own token", f"{len(marked)}: {''.join(marked)}"),
    ]


def font_rows(faces: Sequence[FontFace], characters: Sequence[str]) -> list[tuple[str, str]]:
    """How many glyphs each font has, and why it lacks the others."""
    rows = []
    for face in progress(faces, len(faces), "reading fonts"):
        if face.problem:
            rows.append((face.name, face.problem))
            continue
        images, _, missing = render_font(face, characters, SIZE_PX)
        reasons = Counter(reason for _, reason in missing)
        detail = "".join(f", {count} {reason}" for reason, count in reasons.items())
        rows.append((face.name, f"{len(images)}{detail}"))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--classes", default="all", help="a class list's name or file")
    parser.add_argument("--system", action="store_true", help="also the installed fonts")
    parser.add_argument("--list", help="a font list such as information/use_font.txt")
    parser.add_argument("folders", nargs="*", type=Path, help="folders with fonts")
    options = parser.parse_args(arguments)
    try:
        characters = class_list(options.classes)
        folders = [str(folder) for folder in options.folders]
        faces = find_fonts(PACKAGES, folders, options.list, options.system)
        rows = text_rows(characters) + font_rows(faces, characters)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
