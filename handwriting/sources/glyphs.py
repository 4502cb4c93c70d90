"""Glyphs of fonts as canonical images; a font counts as a writer.

A glyph is used only if the font really has it: a placeholder for missing characters, a blank and a
drawing that different characters share are left out.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from handwriting.errors import InputError, WriteError, report_problems
from handwriting.images.canonical import Uint8, canonical_drawn
from handwriting.images.packed import FORM, PackedImages, cached, concatenate
from handwriting.parallel.progress import progress
from handwriting.sources.font_files import (
    NOT_A_CHARACTER,
    Drawing,
    FontFace,
    call,
    differ,
    draw,
    survey,
)  # fmt: skip
from handwriting.storage.json_files import read_json, write_json
from handwriting.storage.keys import content_key
from handwriting.storage.stamps import quick_stamp

OVERSAMPLING = 4  # glyphs are drawn this many times larger than they are stored
DRAWING = 2  # increment when other glyphs are used, or drawn differently, to invalidate the cache
CHUNK_SIZE = 200  # characters drawn at a time, within the limits of a call
_PLACEHOLDERS = "〓□▯☐■\ufffd"  # which some fonts draw for characters that they lack
_SQUARES = "口ロ囗□"  # which may legitimately look like a placeholder's box


def render_font(
    face: FontFace, characters: Sequence[str], size_px: int
) -> tuple[Uint8, list[int], list[tuple[str, str]]]:
    """The canonical images of a face's glyphs.

    Returns:
        Images (n, size_px, size_px), the positions in ``characters`` of those rendered, and
        (character, reason) for the others.

    Raises:
        InputError: the file is gone, not a font, damaged, or takes too much time or memory.
    """
    if face.problem:
        raise InputError(f"{face.path}: {face.problem}")
    glyphs: dict[int, tuple[bytes, Uint8]] = {}  # position: digest, canonical image
    alike: dict[bytes, set[str]] = defaultdict(set)  # digest -> the characters so drawn
    reasons: dict[int, str] = {}
    try:
        font = call(face.is_packaged, survey, face, characters)
        missing, *boxes = map(_digest, _draw(face, NOT_A_CHARACTER + _PLACEHOLDERS, size_px))
        probed = Counter(map(_digest, _draw(face, font.probes, size_px)))
        placeholders = {*boxes, *(digest for digest, count in probed.items() if count > 1)}
        for i, drawing in enumerate(_draw(face, characters, size_px)):
            if drawing.problem:
                raise ValueError(drawing.problem)
            character, digest = characters[i], _digest(drawing)
            is_mapped = character in font.mapped
            if is_mapped or digest != missing:
                alike[digest].add(character)
            if digest == missing and not (is_mapped and character in _SQUARES):
                reasons[i] = "not in the font"
                continue
            pixels = np.frombuffer(drawing.pixels, np.uint8).reshape(drawing.height, drawing.width)
            try:
                glyphs[i] = digest, canonical_drawn(pixels, size_px)
            except InputError:
                reasons[i] = "blank glyph"
                continue
            is_box = digest in placeholders and character not in _SQUARES + _PLACEHOLDERS
            if is_box or character in font.shared:
                reasons[i] = "drawn as a placeholder"
    except Exception as error:  # fontTools raises whatever the broken bytes lead to
        raise InputError(f"{face.path}: cannot be rendered ({error})") from error
    for i, (digest, _) in glyphs.items():
        if differ(alike[digest]):
            reasons.setdefault(i, "same drawing as other characters")
    rendered = [i for i in glyphs if i not in reasons]
    images = np.array([glyphs[i][1] for i in rendered], np.uint8).reshape(-1, size_px, size_px)
    return images, rendered, [(characters[i], reasons[i]) for i in sorted(reasons)]


def _draw(face: FontFace, characters: Sequence[str], size_px: int) -> Iterator[Drawing]:
    for start in range(0, len(characters), CHUNK_SIZE):
        chunk = characters[start : start + CHUNK_SIZE]
        yield from call(face.is_packaged, draw, face, chunk, OVERSAMPLING * size_px)


def _digest(drawing: Drawing) -> bytes:
    shape = f"{drawing.height} {drawing.width} ".encode()
    return hashlib.sha256(shape + drawing.pixels).digest()


def font_images(
    faces: Sequence[FontFace],
    characters: Sequence[str],
    size_px: int,
    cache_dir: Path,
    min_coverage: float = 0.9,
) -> tuple[PackedImages, list[str]]:
    """All fonts' glyphs as packed images; each font is rendered once and cached by content.

    Args:
        min_coverage: share of the characters that a font must have to be used at all.

    Returns:
        The images, and a line for each font that is skipped, partly used, or has a note.

    Raises:
        InputError: no font can be used, or none of them has one of the characters.
    """
    parts: list[PackedImages] = []
    skipped = [f"note  {face.name}: {face.note}" for face in faces if face.note]
    partly: list[str] = []
    for face in progress(faces, len(faces), "rendering fonts"):
        try:
            packed, missing = _font_images(face, tuple(characters), size_px, cache_dir)
        except WriteError:
            raise
        except InputError as error:
            skipped.append(f"skipped  {face.name}: {error}")
            continue
        lacks = f"{face.name}: {_summary(missing, len(characters))}"
        if not len(packed) or len(packed) < min_coverage * len(characters):
            skipped.append(f"skipped  {lacks}")
            continue
        parts.append(packed)
        if missing:
            partly.append(f"partly used  {lacks}")
    if not parts:
        raise InputError("\n".join(["no font can be used:", *skipped]))
    packed = concatenate(parts)
    absent = [f"{c} (U+{ord(c):04X})" for c in packed.absent()]
    report_problems("characters in none of the fonts", absent, "Add a font that has them.")
    return packed, skipped + partly


def _font_images(
    face: FontFace, characters: tuple[str, ...], size_px: int, cache_dir: Path
) -> tuple[PackedImages, list[tuple[str, str]]]:
    """The images of one font, from the cache if they were made from the same file."""
    try:
        file = (face.index, face.axes, face.name, quick_stamp(face.path))
    except OSError as error:
        raise InputError(f"{face.path}: {error.strerror}") from error
    folder = cache_dir / "fonts" / content_key(FORM, DRAWING, size_px, file, characters)

    def make() -> PackedImages:
        images, rendered, missing = render_font(face, characters, size_px)
        write_json(folder / "missing.json", missing)
        writers = np.zeros(len(images), np.int64)
        return PackedImages(images, np.array(rendered, np.int64), writers, characters, (face.name,))

    packed = cached(folder, make)
    return packed, [(c, reason) for c, reason in read_json(folder / "missing.json")]


def _summary(missing: list[tuple[str, str]], num_characters: int) -> str:
    """The characters that a font lacks, counted by reason, with examples."""
    by_reason: dict[str, list[str]] = {}
    for character, reason in missing:
        by_reason.setdefault(reason, []).append(character)
    parts = [f"{len(cs)} {reason} ({''.join(cs[:8])})" for reason, cs in by_reason.items()]
    return f"lacks {len(missing)} of {num_characters}: {', '.join(parts)}"
