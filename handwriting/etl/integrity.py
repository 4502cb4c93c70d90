"""Integrity of ETL files: whether they exist, their sizes, record counts and first records."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from handwriting.errors import InputError, report_problems
from handwriting.etl.layouts import SETS
from handwriting.etl.records import EtlFile, official_name
from handwriting.parallel.progress import progress
from handwriting.storage.stamps import is_whole, stamp

_WHERE_FROM = (
    'The database is free of charge: register on the page "ETL Character Database" of AIST '
    "(National Institute of Advanced Industrial Science and Technology, Japan), download the sets, "
    "unpack them into data.etl.folder, at any depth, and run the same command again."
)


@dataclass(frozen=True)
class DataFile:
    """One file that a study needs, and its state on disk.

    Attributes:
        name: the official name.
        path: None if it was not found.
        num_records: in the file, without a dummy first one.
        num_expected: according to the table of the sets; another number is only a warning, since
            for some files it is inferred from that of their set.
        problem: why it cannot be used, "" if it can.
    """

    set_name: str
    name: str
    path: Path | None
    num_records: int
    num_expected: int
    problem: str

    def open(self, co59: Mapping[tuple[int, int], str] | None = None) -> EtlFile:
        """The file's records; ``co59`` as for :class:`EtlFile`."""
        assert self.path is not None
        return EtlFile(self.path, co59)


def inspect(folder: Path, set_names: Sequence[str]) -> list[DataFile]:
    """Every file of some sets, in their order; problems are recorded, not raised.

    Args:
        folder: contains the files, at any depth and in any spelling of their names.
        set_names: keys of ``SETS``.

    Raises:
        InputError: there is no such set.
    """
    unknown = [name for name in set_names if name not in SETS]
    report_problems("data.etl: unknown sets", unknown, f"Choose from {', '.join(SETS)}.")
    found = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[official_name(path)].append(path)
    wanted = [(name, file) for name in dict.fromkeys(set_names) for file in SETS[name].files]
    files = []
    for set_name, name in progress(wanted, len(wanted), "checking files"):
        paths, problem, num_records = found[name], "", 0
        if not paths:
            problem = "missing"
        elif others := paths[1:]:
            problem = f"also found as {', '.join(map(str, others))}: keep only one"
        else:
            try:
                num_records = len(EtlFile(paths[0]))
            except InputError as error:
                problem = str(error).removeprefix(f"{paths[0]}: ")
        num_expected = SETS[set_name].files[name] - SETS[set_name].dummy_records
        place = paths[0] if paths else None
        files.append(DataFile(set_name, name, place, num_records, num_expected, problem))
    return files


def source_stamps(files: Sequence[DataFile], co59: str | None) -> dict[str, str]:
    """The stamps of the files and of the table of ETL2, by name, of those that exist."""
    sources = _sources(files, co59)
    with ThreadPoolExecutor() as pool:
        return dict(zip(sources, pool.map(stamp, sources.values()), strict=True))


def changed(files: Sequence[DataFile], co59: str | None, stamps: Mapping[str, str]) -> list[str]:
    """The existing files that have changed since their stamps were taken."""
    found = _sources(files, co59).items()
    return [str(path) for name, path in found if not is_whole(path, stamps.get(name))]


def _sources(files: Sequence[DataFile], co59: str | None) -> dict[str, Path]:
    found = {file.name: file.path for file in files if file.path}
    return found | ({"co59": Path(co59)} if co59 and Path(co59).is_file() else {})


def integrity_report(files: Sequence[DataFile]) -> str:
    """A line for each set, then one for each problem or oddity."""
    sets = pd.DataFrame(map(vars, files)).groupby("set_name", sort=False)
    table = pd.DataFrame(
        {
            "files": sets["path"].count(),
            "of": sets.size(),
            "records": sets["num_records"].sum(),
            "expected": sets["num_expected"].sum(),
        }
    )
    odd = [
        f"{file.path}: warning: expected {file.num_expected:,} records, found {file.num_records:,}"
        for file in files
        if not file.problem and file.num_records != file.num_expected
    ]
    return "\n".join([table.rename_axis(None).to_string(), *_problems(files), *odd]) + "\n"


def require_whole(folder: Path, files: Sequence[DataFile]) -> None:
    """Check that every file exists and is intact.

    Raises:
        InputError: files are missing or damaged, all of them listed.
    """
    problems = _problems(files)
    report_problems(str(folder), problems, _WHERE_FROM, most=len(problems))


def _problems(files: Sequence[DataFile]) -> list[str]:
    """The missing files, a line for each set; then the damaged ones."""
    missing = defaultdict(list)
    for file in files:
        if file.path is None:
            missing[file.set_name].append(file.name)
    lines = []
    for set_name, names in missing.items():
        num_files = len(SETS[set_name].files)
        is_range = len(names) == num_files > 2
        listed = f"{names[0]} to {names[-1]}" if is_range else ", ".join(names)
        lines.append(f"{set_name}: {len(names)} of {num_files} files missing: {listed}")
    return lines + [f"{file.path}: {file.problem}" for file in files if file.path and file.problem]
