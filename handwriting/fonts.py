"""Fonts: where they are found, and their glyphs as canonical images. A font counts as a writer.

Fonts come from Python packages, folders, a list file (``information/use_font.txt`` is an example)
and the system. A glyph is used only if the font really has it: not missing from its character map,
not blank, not the box that stands for missing ones, not one drawing shared by many characters.
"""

import hashlib
import importlib.util
import os
import re
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTCollection, TTFont, TTLibError
from PIL import Image, ImageDraw, ImageFont

from handwriting.errors import InputError, WriteError, report_problems
from handwriting.files import content_key, read_json, write_json
from handwriting.images import MIN_CONTRAST, Uint8, canonical
from handwriting.packed import FORM, PackedImages, cached, concatenate
from handwriting.progress import progress

PACKAGES = ("pylopdf_fonts_jp", "noto_cjk_sans_jp_bold", "matplotlib_fontja")
SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
OVERSAMPLING = 4  # glyphs are drawn this much larger than they are stored
MAX_SHARING = 3  # characters that may look the same: ヘ and へ, 口 and ロ, 一 and ー

# Limits against damaged and hostile fonts; what is larger is no font.
MAX_FACES = 256  # of a collection
MAX_NAME_BYTES = 1 << 17
MAX_MAP_BYTES = 1 << 21
MAX_MAPS = 64  # character maps of a face
MAX_CODE_POINTS = 0x110000  # of Unicode
MAX_EMS = 8  # height and width of a drawing, in font sizes

_JAPANESE = "あア日"  # what a font must have to be found without being asked for by name
_OTHER_REGION = re.compile(r"\b(SC|TC|HK|KR|MO)\b")  # Noto and Source: Chinese, Korean shapes
_UNICODE = ((3, 10), (0, 6), (0, 4), (3, 1), (0, 3), (0, 2), (0, 1), (0, 0))  # its maps' numbers
_NOT_A_CHARACTER = "\U0010fffe"  # no font has it, so that its drawing is .notdef


@dataclass(frozen=True)
class FontFace:
    """One face of a font file.

    Attributes:
        index: its number within a collection (.ttc), else 0.
        name: "font:" and family and style; unique among the faces found, and the writer's name.
        family: the family's name, as a list file may give it.
        problem: why it cannot be opened, "" if it can.
    """

    path: Path
    index: int
    name: str
    family: str = ""
    problem: str = ""


@dataclass(frozen=True)
class SkippedFont:
    """What was left out of a font.

    Attributes:
        used: whether the rest of the font is used; otherwise it is skipped whole.
    """

    face: FontFace
    reason: str
    used: bool = False


def find_fonts(
    packages: Sequence[str] = PACKAGES,
    folders: Sequence[str] = (),
    list_file: str | None = None,
    system: bool = False,
) -> list[FontFace]:
    """The faces of every source, in this order; a family and style found again is used once.

    Args:
        packages: Python packages that carry fonts; they are not imported.
        folders: folders searched with all below them, or single font files.
        list_file: a text file with one font path, file name, family or package per line.
        system: also every Japanese font that is installed.

    Raises:
        InputError: a package, folder, file or line that leads to no font, a named file that is
            not a font, or no font at all.
    """
    problems: list[str] = []
    faces: list[FontFace] = []
    for package in packages:
        files = _package_files(package)
        faces += _faces(files)
        if not files:
            problems.append(f"package {package}: not installed or without fonts")
    for folder in folders:
        found = _faces(_files_below(Path(folder)))
        faces += found
        if not found:
            problems.append(f"{folder}: no such font or folder, or no fonts in it")
        problems += _broken(found) if os.path.isfile(folder) else []
    if list_file is not None:
        listed, wrong = _read_list(Path(list_file), folders)
        faces += listed
        problems += wrong
    report_problems("fonts", problems, "Install the package, or correct fonts.* or the list file.")
    if system:
        faces += system_faces()
    unique: dict[str, FontFace] = {}
    for face in faces:
        unique.setdefault(face.name, face)
    if not unique:
        raise InputError(
            "no fonts: pip install pylopdf-fonts-jp, or name folders, packages or a list file "
            "(fonts.folders, fonts.packages, fonts.list_file), or set fonts.system=true"
        )
    return list(unique.values())


def _broken(faces: Iterable[FontFace]) -> list[str]:
    return [f"{face.path}: {face.problem}" for face in faces if face.problem]


def _package_files(package: str) -> list[Path]:
    name = package.replace("-", "_")
    # Only top-level names: find_spec would import the parent of a dotted one.
    is_name = name.isidentifier() and name != "__main__"  # whose spec is none
    spec = importlib.util.find_spec(name) if is_name else None
    places = (spec.submodule_search_locations or []) if spec else []
    return [file for place in places for file in _files_below(Path(place))]


def _files_below(path: Path) -> list[Path]:
    """The font files below a folder, or the file itself whatever its suffix."""
    if os.path.isfile(path):  # unlike Path.is_file, also for what is too long for a name
        return [path.resolve()]
    if not os.path.isdir(path):
        return []
    found: set[Path] = set()
    walked: set[str] = set()
    for folder, below, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in walked:  # a link leads back: following it again and again would not end
            below.clear()
            continue
        walked.add(real)
        files = (Path(folder, name) for name in names if name.lower().endswith(SUFFIXES))
        found.update(file.resolve() for file in files if file.is_file())
    return sorted(found)


def system_folders() -> list[Path]:
    """Where this system keeps fonts; only folders that exist."""
    home = Path.home()
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
        windows = Path(os.environ.get("WINDIR", r"C:\Windows"))
        folders = [windows / "Fonts", local / "Microsoft" / "Windows" / "Fonts"]
    elif sys.platform == "darwin":
        shared = ["/System/Library/Fonts", "/System/Library/AssetsV2", "/Library/Fonts"]
        folders = [*map(Path, shared), home / "Library" / "Fonts"]
    else:
        shared = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
        own = os.environ.get("XDG_DATA_HOME", home / ".local" / "share")
        folders = [
            *(Path(place) / "fonts" for place in [*shared, own]),
            home / ".fonts",
        ]
    return [folder for folder in folders if folder.is_dir()]


def system_faces() -> list[FontFace]:
    """The installed faces that have kana and kanji, without those of other regions."""
    faces = _faces(file for folder in system_folders() for file in _files_below(folder))
    return [face for face in faces if not face.problem and _is_japanese(face)]


def _is_japanese(face: FontFace) -> bool:
    if _OTHER_REGION.search(face.name):
        return False
    return all(ord(c) in character_map(face) for c in _JAPANESE)


def _faces(files: Iterable[Path]) -> list[FontFace]:
    return [face for file in files for face in _faces_of(file)]


@cache
def _faces_of(path: Path) -> tuple[FontFace, ...]:
    """The faces of a file; of a collection those that are Japanese, if any is."""
    try:
        _check_file(path)
        if path.suffix.lower() in (".ttc", ".otc"):
            with TTCollection(path, lazy=True) as collection:
                faces = [_face(path, i, font) for i, font in enumerate(collection.fonts)]
            return tuple(face for face in faces if _is_japanese(face)) or tuple(faces)
        with TTFont(path, lazy=True) as font:
            face = _face(path, 0, font)
        character_map(face)
        return (face,)
    except Exception as error:  # fontTools raises whatever the broken bytes lead to
        return (FontFace(path, 0, f"font:{path}", problem=f"not a readable font ({error})"),)


def _check_file(path: Path) -> None:
    """Refuse what could fill the memory as soon as it is opened."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] in (b"wOFF", b"wOF2"):  # their tables may unpack to any size
        raise TTLibError("a compressed web font: unpack it to .ttf or .otf first")
    if head[:4] == b"ttcf" and int.from_bytes(head[8:]) > MAX_FACES:
        raise TTLibError(f"a collection of more than {MAX_FACES} faces")


def _check_table(font: TTFont, tag: str, max_bytes: int) -> None:
    if font.reader.tables[tag].length > max_bytes:
        raise TTLibError(f"a table {tag} of more than {max_bytes:,} bytes")


def _face(path: Path, index: int, font: TTFont) -> FontFace:
    _check_table(font, "name", MAX_NAME_BYTES)
    family = font["name"].getBestFamilyName() or path.stem
    style = font["name"].getBestSubFamilyName() or "Regular"
    ImageFont.truetype(path, 16, index)  # FreeType must read it too
    return FontFace(path, index, f"font:{family} {style}", family)


def character_map(face: FontFace) -> frozenset[int]:
    """The code points that a face has a glyph for."""
    with TTFont(face.path, lazy=True, fontNumber=face.index) as font:
        # Names of glyphs are not needed, and making them up takes three quarters of the time.
        font.setGlyphOrder([""] * font["maxp"].numGlyphs)
        _check_table(font, "cmap", MAX_MAP_BYTES)
        _check_maps(font.reader["cmap"])
        return frozenset(font.getBestCmap() or {})


def _check_maps(cmap: bytes) -> None:
    """Refuse character maps that would fill the memory when fontTools writes out their ranges.

    fontTools writes out the best map of Unicode, and those that two entries share.
    """
    num_maps = int.from_bytes(cmap[2:4])
    if num_maps > MAX_MAPS:
        raise TTLibError(f"{num_maps} character maps")
    entries = list(struct.iter_unpack(">HHL", cmap[4 : 4 + 8 * num_maps]))
    sharing = Counter(start for *_, start in entries)
    for platform, encoding, start in entries:
        kind = int.from_bytes(cmap[start : start + 2])
        is_written = (platform, encoding) in _UNICODE or sharing[start] > 1
        if is_written and kind not in (0, 4, 6, 12, 13):
            raise TTLibError(f"a character map of Unicode in format {kind}")
        if _num_mapped(kind, cmap[start:]) > MAX_CODE_POINTS:
            raise TTLibError("a character map of more than all characters")


def _num_mapped(kind: int, subtable: bytes) -> int:
    """How many code points the ranges of a character map cover."""
    if kind == 4:
        count = int.from_bytes(subtable[6:8]) // 2
        last = np.frombuffer(subtable, ">u2", count, 14).astype(int)
        first = np.frombuffer(subtable, ">u2", count, 16 + 2 * count).astype(int)
    elif kind in (12, 13):
        groups = np.frombuffer(subtable, ">u4", 3 * int.from_bytes(subtable[12:16]), 16)
        first, last = groups[0::3].astype(int), groups[1::3].astype(int)
    else:
        return 0
    return int(np.maximum(last - first + 1, 0).sum())


def _read_list(path: Path, folders: Sequence[str]) -> tuple[list[FontFace], list[str]]:
    """The faces that a list file names, and its lines that lead to none."""
    try:
        if path.exists() and not path.is_file():
            raise OSError("not a regular file")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the font list {path}: {error}") from error
    faces: list[FontFace] = []
    problems: list[str] = []
    searched = [*map(Path, folders), *system_folders()]
    for number, line in enumerate(lines, 1):
        wanted = line.split("#")[0].strip()
        if not wanted:
            continue
        found = _named(wanted, path.parent, searched)
        faces += found
        problems += [f"{path}:{number}: {problem}" for problem in _broken(found)]
        if not found:
            problems.append(f"{path}:{number}: no font file, family or package {wanted!r} found")
    return faces, problems


def _named(wanted: str, beside: Path, searched: Sequence[Path]) -> list[FontFace]:
    """The faces of a path, file name, package or family, whichever is found first."""
    for place in (beside, *searched):
        path = place / os.path.expanduser(wanted)
        if os.path.isfile(path):
            return _faces([path.resolve()])
    files = (file for place in searched for file in _files_below(place))
    if wanted.lower().endswith(SUFFIXES):
        return _faces([file for file in files if file.name == wanted][:1])
    packaged = _package_files(wanted)
    if packaged:
        return _faces(packaged)
    name = wanted.casefold()
    return [
        f
        for f in _faces(files)
        if name in (f.family.casefold(), f.name.removeprefix("font:").casefold())
    ]


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
    try:
        has = character_map(face)
        font = ImageFont.truetype(
            face.path,
            OVERSAMPLING * size_px,
            face.index,
            layout_engine=ImageFont.Layout.BASIC,
        )
        tofu = _digest(_draw(font, _NOT_A_CHARACTER))
        glyphs: dict[int, tuple[bytes, Uint8]] = {}  # position: drawing, canonical image
        reasons: dict[int, str] = {}
        for i, character in enumerate(characters):
            drawing = _draw(font, character) if ord(character) in has else None
            reason = _unusable(drawing, tofu)
            if drawing is None or reason:
                reasons[i] = reason
                continue
            try:
                glyphs[i] = _digest(drawing), canonical(drawing, size_px)
            except InputError:
                reasons[i] = "blank glyph"
    except Exception as error:  # as in _faces_of
        raise InputError(f"{face.path}: cannot be rendered ({error})") from error
    sharing = Counter(digest for digest, _ in glyphs.values())
    shared = {i for i, (digest, _) in glyphs.items() if sharing[digest] > MAX_SHARING}
    reasons |= dict.fromkeys(shared, "same drawing as many others")
    rendered = [i for i in glyphs if i not in shared]
    images = np.zeros((len(rendered), size_px, size_px), np.uint8)
    for image, i in zip(images, rendered, strict=True):
        image[:] = glyphs[i][1]
    return images, rendered, [(characters[i], reasons[i]) for i in sorted(reasons)]


def _unusable(drawing: Uint8 | None, tofu: bytes) -> str:
    """Why a drawing shows no character, "" if it does."""
    if drawing is None:
        return "not in the font"
    if drawing.max() < MIN_CONTRAST:
        return "blank glyph"
    return "drawn as missing" if _digest(drawing) == tofu else ""


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
) -> tuple[PackedImages, list[SkippedFont]]:
    """All fonts' glyphs as packed images, each font rendered once per content.

    Args:
        min_coverage: part of the characters that a font must have to be used at all.

    Raises:
        InputError: no font is used, or a character that none of them has.
    """
    parts: list[PackedImages] = []
    skipped: list[SkippedFont] = []
    for face in progress(faces, len(faces), "rendering fonts"):
        try:
            packed, missing = _font_images(face, tuple(characters), size_px, cache_dir)
        except WriteError:
            raise
        except InputError as error:
            skipped.append(SkippedFont(face, str(error)))
            continue
        used = len(packed) > 0 and len(packed) >= min_coverage * len(characters)
        if missing or not used:
            skipped.append(SkippedFont(face, _summary(missing, len(characters)), used))
        if used:
            parts.append(packed)
    if not parts:
        raise InputError("no font can be used:\n" + skipped_table(skipped))
    packed = concatenate(parts)
    covered = set(np.unique(packed.labels).tolist())
    absent = [f"{c} (U+{ord(c):04X})" for i, c in enumerate(characters) if i not in covered]
    report_problems("characters in none of the fonts", absent, "Add a font that has them.")
    return packed, skipped


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


def skipped_table(skipped: Sequence[SkippedFont]) -> str:
    """What was left out, one line per font: skipped whole first."""
    rows = sorted(skipped, key=lambda row: (row.used, row.face.name))
    return "\n".join(
        f"{'partly used' if row.used else 'skipped'}  {row.face.name}: {row.reason}" for row in rows
    )
