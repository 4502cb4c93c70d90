"""Fonts: where they are found, and what is in their files.

They come from Python packages, folders, a list file (``information/use_font.txt`` is an example)
and the system.
"""

import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fontTools.ttLib import TTCollection, TTFont
from PIL import ImageFont

from handwriting.config import PACKAGED_FONTS
from handwriting.errors import InputError, report_problems

SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_JAPANESE = "あア日"  # what a font must have to be found without being asked for by name
_OTHER_REGION = re.compile(r"\b(SC|TC|HK|KR|MO)\b")  # Noto and Source: Chinese, Korean shapes
NOT_A_CHARACTER = "\U0010fffe"  # no font has it: a font draws .notdef, as for all that it lacks


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


def find_fonts(
    packages: Sequence[str] = PACKAGED_FONTS,
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
        InputError: a package, folder, file or line without a font, a named file that is
            not a font, or no font at all.
    """
    sources = [
        (f"package {package}: not installed or without fonts", _faces(_package_files(package)))
        for package in packages
    ]
    sources += [
        (f"{folder}: no such font or folder, or no fonts in it", _faces(_files_below(Path(folder))))
        for folder in folders
    ]
    problems = [problem for problem, found in sources if not found]
    for folder in filter(os.path.isfile, folders):
        problems += _broken(_faces(_files_below(Path(folder))))
    faces = [face for _, found in sources for face in found]
    if list_file is not None:
        listed, wrong = _read_list(Path(list_file), folders)
        faces += listed
        problems += wrong
    report_problems("fonts", problems, "Install the package, or correct fonts.* or the list file.")
    if system:
        openable = (face for face in _faces(system_files()) if not face.problem)
        faces += filter(_is_japanese, openable)
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
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
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


def system_files() -> list[Path]:
    """The installed font files."""
    # Looks through the system when it is imported, which takes a second.
    from matplotlib.font_manager import findSystemFonts

    return sorted({Path(file).resolve() for file in findSystemFonts()})


def _is_japanese(face: FontFace) -> bool:
    """Whether a face has kana and kanji, and not in the shapes of another region."""
    if _OTHER_REGION.search(face.name):
        return False
    font = ImageFont.truetype(face.path, 16, face.index)
    drawings = [(mask.size, bytes(mask)) for mask in map(font.getmask, _JAPANESE + NOT_A_CHARACTER)]
    return drawings[-1] not in drawings[:-1]


def _faces(files: Iterable[Path]) -> list[FontFace]:
    return [face for file in files for face in _faces_of(file)]


@cache
def _faces_of(path: Path) -> tuple[FontFace, ...]:
    """The faces of a file; of a collection those that are Japanese, if any is."""
    try:
        if path.suffix.lower() in (".ttc", ".otc"):
            with TTCollection(path, lazy=True) as collection:
                faces = [_face(path, i, font) for i, font in enumerate(collection.fonts)]
            return tuple(filter(_is_japanese, faces)) or tuple(faces)
        with TTFont(path, lazy=True) as font:
            return (_face(path, 0, font),)
    except Exception as error:  # fontTools raises whatever the broken bytes lead to
        return (FontFace(path, 0, f"font:{path}", problem=f"not a readable font ({error})"),)


def _face(path: Path, index: int, font: TTFont) -> FontFace:
    family = font["name"].getBestFamilyName() or path.stem
    style = font["name"].getBestSubFamilyName() or "Regular"
    ImageFont.truetype(path, 16, index)  # FreeType must read it too
    return FontFace(path, index, f"font:{family} {style}", family)


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
    for number, line in enumerate(lines, 1):
        wanted = line.split("#")[0].strip()
        if not wanted:
            continue
        found = _named(wanted, path.parent, folders)
        faces += found
        problems += [f"{path}:{number}: {problem}" for problem in _broken(found)]
        if not found:
            problems.append(f"{path}:{number}: no font file, family or package {wanted!r} found")
    return faces, problems


def _named(wanted: str, beside: Path, folders: Sequence[str]) -> list[FontFace]:
    """The faces of a path, file name, package or family, whichever is found first."""
    path = beside / os.path.expanduser(wanted)
    if os.path.isfile(path):
        return _faces([path.resolve()])
    if packaged := _package_files(wanted):
        return _faces(packaged)
    files = [file for folder in folders for file in _files_below(Path(folder))] + system_files()
    if wanted.lower().endswith(SUFFIXES):
        return _faces([file for file in files if file.name == wanted][:1])
    name = wanted.casefold()
    return [
        face
        for face in _faces(files)
        if name in (face.family.casefold(), face.name.removeprefix("font:").casefold())
    ]
