"""Does a finished study notice files that were lost or damaged since? Linux and macOS only.

    python -m benchmarks.damage                          # every kind of output of experiment=smoke
    python -m benchmarks.damage --names vae/ meta.json   # only paths that contain one of these

The smoke study runs to its end once. Then one file of every kind that it left, cache included, is
deleted, and one has a bit flipped in its middle while its modification time stays, as on a failing
disk; the study is started again each time. The outcome is `repaired` if everything is as before,
`named` if the run says which file is damaged and what to delete, `silent` if it ends as if nothing
had happened, and `stuck` if it fails with any other message. Exits with 1 if anything is silent or
stuck.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pipeline
from benchmarks.kills import Stage, attempt, content, files_in
from handwriting.storage.locks import LOCK_FILE

STUDY = Stage(pipeline.main, "smoke", base=("experiment=smoke", "runtime.num_threads=1"))
DAMAGES = ("deleted", "flipped")
VARIABLE = re.compile(
    r"(?<=classifier/)[^/]+|(?<=generated/)[^/]+|(?<=style_transfer/)[^/]+/[^/]+"
    r"|U\+[0-9A-F]+|[0-9a-f]{16}|\d{3,}"
)


def kinds(folder: Path) -> list[str]:
    """One file of each kind; arms, steps, characters, numbers and cache keys make no difference."""
    found: dict[str, str] = {}
    for name, path in files_in(folder).items():
        if path.name not in (LOCK_FILE, "log.txt"):
            found.setdefault(VARIABLE.sub("*", name), name)
    return list(found.values())


def harm(path: Path, damage: str, keeps_time: bool = True) -> bytes | None:
    """Delete a file, or flip a bit in its middle and keep its time, as a failing disk does.

    Returns:
        The file's new content; None if it was deleted.
    """
    if damage == "deleted":
        path.unlink()
        return None
    stat, changed = path.stat(), bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    if keeps_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return bytes(changed)


def outcome(name: str, damage: str, whole: Path, side: Path) -> str:
    """Damage a file of a finished study, start the study again, and return the outcome."""
    shutil.rmtree(side)
    shutil.copytree(whole, side)
    path, log = side / name, side / "log.txt"
    log.unlink()
    harmed = harm(path, damage)
    if name.startswith("cache/packed"):  # read only if a stage has to run
        (side / "runs" / "smoke" / "judge" / "done.json").unlink()
    code, _ = attempt(STUDY, side)
    output = log.read_text(encoding="utf-8")
    if code:
        last = output.strip().rpartition("\n")[2]
        return "named" if path.name in last and "delete" in last else f"stuck: {last}"
    before, after = files_in(whole), files_in(side)
    differing = [
        other
        for other in sorted((before.keys() | after.keys()) - {"log.txt"})
        if not (other in before and other in after and equal(before[other], after[other], side))
    ]
    if path.is_file() and path.read_bytes() != harmed and not differing:
        return "repaired"
    return "named" if f"{path} is " in output else f"silent: {', '.join(differing[:3]) or name}"


def equal(one: Path, other: Path, side: Path) -> bool:
    try:
        return bool(content(one, side) == content(other, side))
    except ValueError:  # not JSON
        return one.read_bytes() == other.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--names", nargs="+", default=[""], help="parts of paths; default: all files"
    )
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole, side = Path(folder, "whole"), Path(folder, "side")
        side.mkdir()
        if attempt(STUDY, side)[0]:
            sys.exit((side / "log.txt").read_text())
        shutil.copytree(side, whole)
        names = [name for name in kinds(whole) if any(part in name for part in arguments.names)]
        for name in names:
            found = [outcome(name, damage, whole, side) for damage in DAMAGES]
            counts.update(text.partition(":")[0] for text in found)
            print(f"| {VARIABLE.sub('*', name)} | {' | '.join(found)} |", flush=True)
    print(f"{len(names)} kinds, deleted and flipped: {dict(counts)}")
    sys.exit(any(counts[bad] for bad in ("silent", "stuck")))


if __name__ == "__main__":
    main()
