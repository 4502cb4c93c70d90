"""Finds fonts and describes their faces.

They come from Python packages, folders, a list file (``information/use_font.txt`` is an example)
and the system.
"""

import hashlib
import importlib.util
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

from handwriting.config import PACKAGED_FONTS
from handwriting.errors import InputError, report_problems
from handwriting.sources.font_files import FontFace, call, read_faces
from handwriting.storage.json_files import read_json, write_json
from handwriting.storage.keys import content_key
from handwriting.storage.stamps import quick_stamp

SUFFIXES = (".ttf", ".otf", ".ttc", ".otc", ".woff", ".woff2")
NOT_READ = (
    ".dfont", ".pfb", ".pfa", ".eot", ".fon", ".fnt", ".bdf", ".pcf", ".otb", ".sfd", ".vfb",
    ".glyphs",
)  # fmt: skip
VERSION = 1  # increment when files are described differently, to invalidate the cache


def find_fonts(
    packages: Sequence[str] = PACKAGED_FONTS,
    folders: Sequence[str] = (),
    list_file: str | None = None,
    system: bool = False,
    cache_dir: Path | None = None,
) -> list[FontFace]:
    """The faces of every source, in this order; a face that is found twice is used once.

    Different faces with the same family and style are named by their files, except a package's.
    Files that look like fonts but cannot be read are returned as faces with a problem.

    Args:
        packages: Python packages that carry fonts; they are not imported.
        folders: folders, searched recursively, or single font files.
        list_file: a text file with one font path, file name, family or package per line.
        system: whether to add every installed Japanese font.
        cache_dir: where descriptions of files outside packages are cached.

    Raises:
        InputError: a package, folder, file or line has no font, a named file is not a font, or
            there is no font at all.
    """
    sources = [
        (f"package {package}: not installed or without fonts", _packaged(package))
        for package in packages
    ]
    problems: list[str] = []
    for folder in folders:
        found = _faces(_files_below(Path(folder)), cache_dir)
        sources.append((f"{folder}: no such font or folder, or no fonts in it", found))
        problems += _broken(found) if os.path.isfile(folder) else []
    problems = [problem for problem, found in sources if not found] + problems
    faces = [face for _, found in sources for face in found]
    if list_file is not None:
        listed, wrong = _read_list(Path(list_file), folders, cache_dir)
        faces += listed
        problems += wrong
    report_problems("fonts", problems, "Install the package, or fix fonts.* or the list file.")
    if system:
        faces += (face for face in _faces(system_files(), cache_dir) if face.is_japanese)
    if not faces:
        raise InputError(
            "no fonts: pip install pylopdf-fonts-jp, or set fonts.folders, fonts.packages, "
            "fonts.list_file or fonts.system=true"
        )
    return _unique(faces)


def _unique(faces: Sequence[FontFace]) -> list[FontFace]:
    """Each face once, by its content, under a unique name."""
    groups: dict[str, list[FontFace]] = defaultdict(list)
    for face in dict.fromkeys(faces):
        groups[face.name].append(face)
    chosen: dict[FontFace, FontFace] = {}  # the faces to use -> the same under their final names
    for name, group in groups.items():
        first: dict[object, FontFace] = {}  # of each content
        for face in group:  # equal faces have equal names, so only these need to be compared
            first.setdefault(len(group) > 1 and _content(face), face)
        labels = short_paths([face.path for face in first.values()])
        for i, (face, label) in enumerate(zip(first.values(), labels, strict=True)):
            keeps_name = len(first) == 1 or (face.is_packaged and i == 0)
            chosen[face] = face if keeps_name else replace(face, name=f"{name} ({label})")
        if len(first) > 1:
            files = ", ".join(f"{chosen[face].name} is {face.path}" for face in first.values())
            note = f"{len(first)} different fonts have this name: {files}"
            known = chosen[group[0]]
            chosen[group[0]] = replace(known, note="; ".join(filter(None, [known.note, note])))
    found = [chosen[face] for face in dict.fromkeys(faces) if face in chosen]
    return found if len({face.name for face in found}) == len(found) else _unique(found)


def _content(face: FontFace) -> tuple[object, ...]:
    """A key that is equal for copies of a face in different files."""
    with suppress(OSError), face.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest(), face.index, face.axes
    return face.path, face.index, face.axes


def short_paths(paths: Sequence[Path]) -> list[str]:
    """The shortest endings of paths that tell them apart, without suffixes if possible."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        ends = [Path(*path.parts[-depth:]) for path in paths]
        for labels in ([end.with_suffix("") for end in ends], ends):
            if len(set(labels)) == len(paths):
                return [label.as_posix() for label in labels]
    return [f"{path.name}#{i}" for i, path in enumerate(paths, 1)]  # faces of one file


def _broken(faces: Iterable[FontFace]) -> list[str]:
    return [f"{face.path}: {face.problem}" for face in faces if face.problem]


def _packaged(package: str) -> list[FontFace]:
    """The faces of an installed package, whose files are trusted like its code."""
    name = package.replace("-", "_")
    # Only top-level names: find_spec would import the parent of a dotted one.
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    places = (spec.submodule_search_locations or []) if spec else []
    files = [file for place in places for file in _files_below(Path(place))]
    return [face for file in files for face in _described(file, "", True, None)]


def _files_below(path: Path) -> list[Path]:
    """The font files below a folder, or the file itself whatever its suffix."""
    if os.path.isfile(path):  # unlike Path.is_file, does not raise if the name is too long
        return [path.resolve()]
    if not os.path.isdir(path):
        return []
    found: set[Path] = set()
    walked: set[str] = set()
    for folder, below, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in walked:  # a symbolic link to a parent: following it would never end
            below.clear()
            continue
        walked.add(real)
        files = (Path(folder, name) for name in names if name.lower().endswith(SUFFIXES + NOT_READ))
        found.update(file.resolve() for file in files if file.is_file())
    return sorted(found)


def system_files() -> list[Path]:
    """The installed font files."""
    # Imported here since it searches the system, which takes a second.
    from matplotlib.font_manager import findSystemFonts

    return sorted({Path(file).resolve() for file in findSystemFonts()})


def _faces(files: Iterable[Path], cache_dir: Path | None) -> list[FontFace]:
    found: list[FontFace] = []
    for file in files:
        try:
            found += _described(file, quick_stamp(file), False, cache_dir)
        except OSError as error:
            found.append(_unreadable(file, error))
    return found


def _unreadable(path: Path, error: Exception) -> FontFace:
    return FontFace(path, 0, f"font:{path}", problem=f"not a readable font ({error})")


@cache
def _described(
    path: Path, stamped: str, is_packaged: bool, cache_dir: Path | None
) -> tuple[FontFace, ...]:
    """The faces of a file, from the cache if they were read before."""
    if path.suffix.lower() in NOT_READ:
        advice = f"{path.suffix} is not supported: convert it to TTF or OTF, e.g. with FontForge"
        return (_unreadable(path, ValueError(advice)),)
    key = content_key(VERSION, str(path), stamped)
    kept = cache_dir / "faces" / f"{key}.json" if cache_dir and not is_packaged else None
    if kept and kept.is_file():
        with suppress(InputError, LookupError, TypeError):  # damaged
            meta = read_json(kept)
            if meta["key"] == content_key(meta["faces"]):
                faces = [FontFace(path, **values) for values in meta["faces"]]
                return tuple(replace(face, axes=tuple(face.axes)) for face in faces)
    try:
        read = call(is_packaged, read_faces, path)
    except Exception as error:  # fontTools raises whatever the broken bytes lead to
        return (_unreadable(path, error),)
    if kept:
        values = [{k: v for k, v in asdict(face).items() if k != "path"} for face in read]
        write_json(kept, {"faces": values, "key": content_key(values)})
    return tuple(replace(face, is_packaged=is_packaged) for face in read)


def _read_list(
    path: Path, folders: Sequence[str], cache_dir: Path | None
) -> tuple[list[FontFace], list[str]]:
    """The faces that a list file names, and problems with its lines."""
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
        found = _named(wanted, path.parent, folders, cache_dir)
        faces += found
        problems += [f"{path}:{number}: {problem}" for problem in _broken(found)]
        if not found:
            problems.append(f"{path}:{number}: no font file, family or package {wanted!r} found")
    return faces, problems


def _named(
    wanted: str, beside: Path, folders: Sequence[str], cache_dir: Path | None
) -> list[FontFace]:
    """The faces of a path, package, file name or family, tried in this order."""
    path = beside / os.path.expanduser(wanted)
    if os.path.isfile(path):
        return _faces([path.resolve()], cache_dir)
    if packaged := _packaged(wanted):
        return packaged
    files = [file for folder in folders for file in _files_below(Path(folder))] + system_files()
    if wanted.lower().endswith(SUFFIXES):
        return _faces([file for file in files if file.name == wanted], cache_dir)
    name = wanted.casefold()
    return [
        face
        for face in _faces(files, cache_dir)
        if name in (face.family.casefold(), face.name.removeprefix("font:").casefold())
    ]
