"""The user's own images: a manifest that is split by writer, or one manifest per split."""

from dataclasses import dataclass, replace
from pathlib import Path

from handwriting.characters.classes import class_list, letter, named
from handwriting.config import Fonts, Natural
from handwriting.corpus.splits import NOBODY_TESTED, DividedReader, Splits, check_splits
from handwriting.errors import InputError, report_problems
from handwriting.images.manifest import UNKNOWN_WRITER, Manifest, read_manifest
from handwriting.images.packed import files_key, pack_manifest
from handwriting.storage.keys import content_key


@dataclass
class ManifestData(DividedReader):
    """Images with a manifest."""

    is_real = True
    characters: str | None = None  # a class list; null: those of the manifest
    num_simulated_writers: Natural = 60
    train_writers: Natural = 5
    manifest: str | None = None
    validation_manifest: str | None = None  # null: split `manifest` by writer
    test_manifest: str | None = None

    def files(self) -> list[Path]:
        paths = (self.manifest, self.validation_manifest, self.test_manifest)
        manifests = [Path(path) for path in paths if path]
        return [*manifests, *(path.with_name("writers.json") for path in manifests)]

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        if not self.manifest:
            raise InputError("data=manifest needs data.manifest=path/to/manifest.json")
        splits = self._manifests()
        first = splits["train"]
        characters = class_list(self.characters) if self.characters else first.characters
        if len(splits) > 1:
            check_splits(splits)
            packed = {
                name: pack_manifest(manifest, size_px, cache_dir).of(characters)
                for name, manifest in splits.items()
            }
            whose = ", ".join(f"{name} {one.names_from or '-'}" for name, one in splits.items())
            return Splits(
                *packed.values(), key=content_key([files_key(one) for one in splits.values()]),
                names_from=f"one manifest per split ({whose})",
            )  # fmt: skip
        if self.validation_manifest or self.test_manifest:
            raise InputError(
                "give both data.validation_manifest and data.test_manifest, or neither"
            )
        unnamed = [e.file for e in first.entries if e.writer == UNKNOWN_WRITER]
        if first.names_from or self.validation_writers or self.test_writers != 0:
            report_problems(
                self.manifest,
                [f"no writer known for {file}" for file in unnamed],
                "Put a writers.json beside the manifest, or give one manifest per split "
                "(data.manifest, data.validation_manifest, data.test_manifest). If one person "
                f"wrote everything and nobody is to be tested: {NOBODY_TESTED}",
            )
        everyone = pack_manifest(first, size_px, cache_dir).of(characters)
        names_from = first.names_from or "nowhere: all are taken to be by one person"
        divided = self.divided(everyone, self.split_seed, self.manifest, names_from)
        return replace(divided, key=files_key(first))

    def image_names(self, split: str) -> list[str]:
        splits = self._manifests()
        return [entry.file for entry in splits.get(split, splits["train"]).entries]

    def _manifests(self) -> dict[str, Manifest]:
        """The manifest that is divided as train, or all three."""
        assert self.manifest
        wanted = class_list(self.characters) if self.characters else None
        splits = {"train": read_manifest(self.manifest, wanted)}
        if self.validation_manifest and self.test_manifest:
            characters = wanted or splits["train"].characters
            others = {"validation": self.validation_manifest, "test": self.test_manifest}
            for name, path in others.items():
                splits[name] = _within(read_manifest(path), characters, chosen=bool(wanted))
        return splits


def _within(manifest: Manifest, characters: tuple[str, ...], chosen: bool) -> Manifest:
    """A test manifest's images of the training characters.

    Args:
        chosen: the user named the characters; others are then left out rather than refused, but
            not other code points of their letters.
    """
    letters = {letter(c): named(c) for c in characters}
    problems = []
    for c in manifest.characters:
        meant = letters.get(letter(c))
        if c not in characters and (meant or not chosen):
            rename = f": the class is {meant}, write this" if meant else ""
            problems.append(f"unknown character {c} (U+{ord(c):04X}){rename}")
    report_problems(
        str(manifest.path), problems,
        "A recogniser cannot name a class that is not in the training manifest: remove them, or "
        "choose the classes with data.characters.",
    )  # fmt: skip
    kept = tuple(entry for entry in manifest.entries if entry.character in characters)
    return replace(manifest, entries=kept)
