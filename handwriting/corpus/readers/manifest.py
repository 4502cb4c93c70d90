"""The user's own images: a manifest that is split by writer, or one manifest per split.

Further manifests may hold writers who are only tested, and fonts may be tested like writers.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from handwriting.characters.classes import class_list, letter, named
from handwriting.config import Fonts, Natural
from handwriting.corpus.readers.handwritten_fonts import font_hands
from handwriting.corpus.splits import NOBODY_TESTED, DividedReader, Splits, check_splits
from handwriting.errors import InputError, abridged, report_problems
from handwriting.images.manifest import UNKNOWN_WRITER, Manifest, read_manifest
from handwriting.images.packed import (
    PackedImages,
    concatenate,
    files_key,
    pack_manifest,
    pixels_key,
)
from handwriting.storage.keys import content_key

MAX_NAMED = 20  # characters that are not classes


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
    # Further manifests to test on, by name. Their writers count as other people, whatever their
    # names, and are called name:writer. A font, or a folder of fonts, stands in for a person
    tests: dict[str, str] = field(default_factory=dict)

    def files(self) -> list[Path]:
        paths = (self.manifest, self.validation_manifest, self.test_manifest, *self.tests.values())
        files = [Path(path) for path in paths if path]
        return [*files, *(path.with_name("writers.json") for path in files)]

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        if not self.manifest:
            raise InputError("data=manifest needs data.manifest=path/to/manifest.json")
        own, tests, others = self._manifests()
        check_splits({**own, **{str(one.path): one for one in tests}})
        first = own["train"]
        characters = class_list(self.characters) if self.characters else first.characters

        def packed(manifest: Manifest) -> PackedImages:
            return pack_manifest(manifest, size_px, cache_dir).of(characters)

        if len(own) > 1:
            whose = ", ".join(f"{name} {one.names_from or '-'}" for name, one in own.items())
            named_by = f"one manifest per split ({whose})"
            splits = Splits(*map(packed, own.values()), names_from=named_by)
        else:
            splits = self._by_writer(first, packed(first))
        hands = self._stand_ins()
        drawn = font_hands(hands, characters, fonts, size_px, cache_dir) if hands else []
        test = concatenate([splits.test, *map(packed, tests), *drawn])
        unread = f"{abridged(others, MAX_NAMED)}, which are not classes," if others else ""
        keys = [*map(files_key, (*own.values(), *tests)), *map(pixels_key, drawn)]
        return replace(
            splits, test=test, key=keys[0] if len(keys) == 1 else content_key(keys),
            unused=" and ".join(filter(None, [splits.unused, unread])), has_stand_ins=bool(drawn),
        )  # fmt: skip

    def _by_writer(self, manifest: Manifest, everyone: PackedImages) -> Splits:
        if self.validation_manifest or self.test_manifest:
            raise InputError(
                "give both data.validation_manifest and data.test_manifest, or neither"
            )
        unnamed = [e.file for e in manifest.entries if e.writer == UNKNOWN_WRITER]
        if manifest.names_from or self.validation_writers or self.test_writers != 0:
            report_problems(
                str(manifest.path),
                [f"no writer known for {file}" for file in unnamed],
                "Put a writers.json next to the manifest, or give one manifest per split "
                "(data.manifest, data.validation_manifest, data.test_manifest). If one person "
                f"wrote everything and no test is needed, set {NOBODY_TESTED}",
            )
        names_from = manifest.names_from or "nowhere: all images are taken to be by one person"
        return self.divided(everyone, self.split_seed, str(self.manifest), names_from)

    def image_names(self, split: str) -> list[str]:
        own, tests, _ = self._manifests()
        found = [own.get(split, own["train"]), *(tests if split == "test" else ())]
        return [entry.file for one in found for entry in one.entries]

    def _manifests(self) -> tuple[dict[str, Manifest], list[Manifest], str]:
        """The manifests by split, the further test manifests, and the characters left out.

        A single manifest, which is split by writer, is under ``train``. The characters left out are
        those of the further tests, and with ``data.partial`` of the manifest, that are not classes.
        """
        assert self.manifest
        wanted = class_list(self.characters) if self.characters else None
        is_partial = bool(wanted) and self.partial
        whole = read_manifest(self.manifest, None if is_partial else wanted)
        characters = wanted or whole.characters

        def within(manifest: Manifest) -> Manifest:
            return _within(manifest, characters, chosen=bool(wanted))

        own = {"train": within(whole) if is_partial else whole}
        if self.validation_manifest and self.test_manifest:
            own["validation"] = within(read_manifest(self.validation_manifest))
            own["test"] = within(read_manifest(self.test_manifest))
        fonts = self._stand_ins()
        further = {
            name: read_manifest(path) for name, path in self.tests.items() if name not in fonts
        }
        tests = []
        for name, manifest in further.items():
            kept = within(manifest)
            entries = [replace(e, writer=f"{name}:{e.writer}") for e in kept.entries]
            tests.append(replace(kept, entries=tuple(entries)))
        read = [*([whole] if is_partial else []), *further.values()]
        shown = (character for manifest in read for character in manifest.characters)
        return own, tests, "".join(dict.fromkeys(c for c in shown if c not in characters))

    def _stand_ins(self) -> dict[str, str]:
        """The tests that are fonts, by name: all that are not JSON files."""
        return {name: path for name, path in self.tests.items() if Path(path).suffix != ".json"}


def _within(manifest: Manifest, characters: tuple[str, ...], chosen: bool) -> Manifest:
    """A manifest's images of the study's characters.

    Args:
        chosen: the user named the characters; others are then left out rather than rejected, except
            for variant code points of them.
    """
    letters = {letter(c): named(c) for c in characters}
    problems = []
    for c in manifest.characters:
        meant = letters.get(letter(c))
        if c not in characters and (meant or not chosen):
            rename = f": the class is {meant}, use that" if meant else ""
            problems.append(f"unknown character {c} (U+{ord(c):04X}){rename}")
    report_problems(
        str(manifest.path), problems,
        "A recogniser cannot predict a class that is not in the training manifest: remove them, or "
        "choose the classes with data.characters.",
    )  # fmt: skip
    kept = tuple(entry for entry in manifest.entries if entry.character in characters)
    return replace(manifest, entries=kept)
