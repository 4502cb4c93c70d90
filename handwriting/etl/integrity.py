"""Are the files of some ETL sets all there, and whole?

Sizes, record counts and the first records are always checked. The few files whose SHA-256 is known
(ETL1 and ETL7, 0.3 GB) are also hashed, a second or two; a difference is a warning, because
nobody has confirmed these hashes. The 5 GB of ETL9G, of which no hash is known, are not read.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from handwriting.errors import InputError, report_problems
from handwriting.etl.layouts import SETS
from handwriting.etl.records import EtlFile, official_name
from handwriting.parallel.progress import progress
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import write_json

_WHERE_FROM = (
    'The database is free of charge: register on the page "ETL Character Database" of AIST '
    "(National Institute of Advanced Industrial Science and Technology, Japan), download the sets, "
    "unpack them into data.etl.folder, at any depth, and run this again."
)


@dataclass(frozen=True)
class DataFile:
    """What became of one file that a study needs.

    Attributes:
        set_name: "ETL1" to "ETL9G".
        name: as it should be.
        path: where it was found; None if it was not.
        num_records: in the file, a dummy first one not counted.
        problem: why it cannot be used, "" if it can.
        warning: what is odd about it, "" if nothing is.
    """

    set_name: str
    name: str
    path: Path | None
    num_records: int
    problem: str = ""
    warning: str = ""


def inspect(folder: Path, set_names: Sequence[str]) -> list[DataFile]:
    """Every file of some sets, in their order; nothing is raised for what is wrong with it.

    Args:
        folder: the files lie in it or anywhere below it.
        set_names: keys of ``SETS``.

    Raises:
        InputError: a set that does not exist.
    """
    unknown = [name for name in set_names if name not in SETS]
    report_problems("data.etl: no such sets", unknown, f"Name some of {', '.join(SETS)}.")
    found = _find(folder)
    wanted = [(name, file) for name in dict.fromkeys(set_names) for file in SETS[name].files]
    return [
        _inspected(set_name, name, found[name])
        for set_name, name in progress(wanted, len(wanted), "checking files")
    ]


def write_integrity(output: Path, files: Sequence[DataFile]) -> None:
    """Write ``integrity.json`` and ``integrity.txt``."""
    rows = [{**asdict(file), "path": file.path and str(file.path)} for file in files]
    write_json(output / "integrity.json", rows)
    write_text(output / "integrity.txt", integrity_table(files))


def require_whole(folder: Path, files: Sequence[DataFile]) -> None:
    """Stop unless every file is there and whole.

    Raises:
        InputError: files that are missing or broken, all listed.
    """
    problems = _missing(files) + _broken(files)
    report_problems(str(folder), problems, _WHERE_FROM, most=len(problems))


def _find(folder: Path) -> dict[str, list[Path]]:
    """The files below a folder by their official names, however these are written."""
    found = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[official_name(path)].append(path)
    return found


def _inspected(set_name: str, name: str, paths: list[Path]) -> DataFile:
    """One file by what was found under its name."""
    if not paths:
        return DataFile(set_name, name, None, 0, "missing")
    path, *others = paths
    if others:
        problem = f"found again as {', '.join(map(str, others))}: keep one of them"
        return DataFile(set_name, name, path, 0, problem)
    try:
        num_records = len(EtlFile(path, set_name))
    except InputError as error:
        return DataFile(set_name, name, path, 0, str(error).removeprefix(f"{path}: "))
    form = SETS[set_name]
    expected = form.files[name] - form.dummy_records
    warning = ""
    if num_records != expected:
        # Not an error: the counts of some files are inferred from those of their set.
        size = form.files[name] * form.record_bytes
        warning = f"expected {expected:,} records ({size:,} bytes), found {num_records:,}"
    elif name in form.sha256 and _sha256(path) != form.sha256[name]:
        warning = "another SHA-256 than users of the database have published"
    return DataFile(set_name, name, path, num_records, warning=warning)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(files: Sequence[DataFile]) -> list[str]:
    """The missing files, a line for each set."""
    names = defaultdict(list)
    for file in files:
        if file.path is None:
            names[file.set_name].append(file.name)
    lines = []
    for set_name, missing in names.items():
        num_files = len(SETS[set_name].files)
        is_range = len(missing) == num_files > 2
        listed = f"{missing[0]} to {missing[-1]}" if is_range else ", ".join(missing)
        lines.append(f"{set_name}: {len(missing)} of {num_files} files missing: {listed}")
    return lines


def _broken(files: Sequence[DataFile]) -> list[str]:
    return [f"{file.path}: {file.problem}" for file in files if file.path and file.problem]


def integrity_table(files: Sequence[DataFile]) -> str:
    """The report that people read: a line for each set, then one for whatever is odd."""
    lines = [f"{'set':8}{'files found':>14}{'records':>10}{'of':>10}{'broken':>8}{'odd':>5}"]
    for name in dict.fromkeys(file.set_name for file in files):
        form, own = SETS[name], [file for file in files if file.set_name == name]
        there = [file for file in own if file.path]
        records = sum(form.files.values()) - len(form.files) * form.dummy_records
        lines.append(
            f"{name:8}{len(there):>7} of {len(own):>3}{sum(f.num_records for f in own):>10,}"
            f"{records:>10,}{sum(bool(f.problem) for f in there):>8}"
            f"{sum(bool(f.warning) for f in own):>5}"
        )
    odd = [f"{file.path}: {file.warning} (a warning)" for file in files if file.warning]
    return "\n".join([*lines, *_missing(files), *_broken(files), *odd]) + "\n"
