"""Glyphs of fonts as canonical images. A font counts as a writer.

A glyph is used only if the font really has it: not the drawing that stands for missing characters,
not blank, not one drawing shared by many characters.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from handwriting.errors import InputError, WriteError, report_problems
from handwriting.images.canonical import Uint8, canonical_drawn
from handwriting.images.packed import FORM, PackedImages, cached, concatenate
from handwriting.parallel.progress import progress
from handwriting.sources.fonts import NOT_A_CHARACTER, FontFace
from handwriting.storage.json_files import read_json, write_json
from handwriting.storage.keys import content_key

OVERSAMPLING = 4  # glyphs are drawn this much larger than they are stored
MAX_SHARING = 3  # characters that may look the same: ヘ and へ, 口 and ロ, 一 and ー
MAX_EMS = 8  # height and width of a drawing, in font sizes


def render_font(
    face: FontFace, characters: Sequence[str], size_px: int
) -> tuple[Uint8, list[int], list[tuple[str, str]]]:
    """The canonical images of a face's glyphs.

    Returns:
        Images (n, size_px, size_px), the positions in ``characters`` of those rendered, and
        (character, reason) for the others.

    Raises:
        InputError: the file is gone, not a font, or damaged.
    """
    if face.problem:
        raise InputError(f"{face.path}: {face.problem}")
    glyphs: dict[int, tuple[bytes, Uint8]] = {}  # position: drawing, canonical image
    reasons: dict[int, str] = {}
    try:
        font = ImageFont.truetype(
            face.path, OVERSAMPLING * size_px, face.index, layout_engine=ImageFont.Layout.BASIC
        )
        missing = _digest(_draw(font, NOT_A_CHARACTER))
        for i, character in enumerate(characters):
            drawing = _draw(font, character)
            if (digest := _digest(drawing)) == missing:
                reasons[i] = "not in the font"
                continue
            try:
                glyphs[i] = digest, canonical_drawn(drawing, size_px)
            except InputError:
                reasons[i] = "blank glyph"
    except Exception as error:  # as in _faces_of
        raise InputError(f"{face.path}: cannot be rendered ({error})") from error
    sharing = Counter(digest for digest, _ in glyphs.values())
    shared = {i for i, (digest, _) in glyphs.items() if sharing[digest] > MAX_SHARING}
    reasons |= dict.fromkeys(shared, "same drawing as many others")
    rendered = [i for i in glyphs if i not in shared]
    images = np.array([glyphs[i][1] for i in rendered], np.uint8).reshape(-1, size_px, size_px)
    return images, rendered, [(characters[i], reasons[i]) for i in sorted(reasons)]


def _draw(font: ImageFont.FreeTypeFont, character: str) -> Uint8:
    """A glyph as (H, W) uint8, bright on dark, with an empty border of one pixel."""
    left, top, right, bottom = (int(side) for side in font.getbbox(character))
    if max(right - left, bottom - top) > MAX_EMS * font.size:
        raise ValueError(f"a glyph of {right - left} x {bottom - top} px at size {font.size}")
    picture = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(picture).text((1 - left, 1 - top), character, fill=255, font=font)
    return np.asarray(picture)


def _digest(drawing: Uint8) -> bytes:
    return hashlib.sha256(repr(drawing.shape).encode() + drawing.tobytes()).digest()


def font_images(
    faces: Sequence[FontFace],
    characters: Sequence[str],
    size_px: int,
    cache_dir: Path,
    min_coverage: float = 0.9,
) -> tuple[PackedImages, list[str]]:
    """All fonts' glyphs as packed images, each font rendered once per content.

    Args:
        min_coverage: share of the characters that a font must have to be used at all.

    Returns:
        The images, and a line for each font that is skipped or used in part, saying why.

    Raises:
        InputError: no font is used, or a character that none of them has.
    """
    parts: list[PackedImages] = []
    skipped: list[str] = []
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
    """The images of one font, from the cache if the file has not changed."""
    try:
        stat = face.path.stat()
    except OSError as error:
        raise InputError(f"{face.path}: {error.strerror}") from error
    file = (str(face.path), face.index, face.name, stat.st_size, stat.st_mtime_ns)
    drawing = (OVERSAMPLING, MAX_SHARING)
    folder = cache_dir / "fonts" / content_key(FORM, drawing, size_px, file, characters)

    def make() -> PackedImages:
        images, rendered, missing = render_font(face, characters, size_px)
        write_json(folder / "missing.json", missing)
        writers = np.zeros(len(images), np.int64)
        return PackedImages(images, np.array(rendered, np.int64), writers, characters, (face.name,))

    packed = cached(folder, make)
    return packed, [(c, reason) for c, reason in read_json(folder / "missing.json")]


def _summary(missing: list[tuple[str, str]], num_characters: int) -> str:
    """What a font lacks, by reason, with examples."""
    by_reason: dict[str, list[str]] = {}
    for character, reason in missing:
        by_reason.setdefault(reason, []).append(character)
    parts = [f"{len(cs)} {reason} ({''.join(cs[:8])})" for reason, cs in by_reason.items()]
    return f"lacks {len(missing)} of {num_characters}: {', '.join(parts)}"
