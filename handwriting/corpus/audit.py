"""Leak checks: nothing that a recogniser is based on may have seen a writer it is tested on.

Splits, weights and generated images are checked where they are read. :func:`audit`, at the end of a
study, follows files, not the configuration: ``config.json`` of a run holds the content keys of what
the run read, weights name all writers they have seen, and so does ``facts.json`` next to generated
images. A recogniser thus leads to the images and weights that it was made from, these to theirs,
and so on to the encoders. A file that cannot be traced is a problem, too.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.corpus.splits import on_two_sides
from handwriting.errors import InputError, report_problems
from handwriting.images.manifest import UNKNOWN_WRITER, Manifest, read_manifest
from handwriting.images.packed import PackedImages, files_key
from handwriting.images.writers import look
from handwriting.runs.folder import run_folder
from handwriting.runs.weights import Facts, Weights, load_weights
from handwriting.storage.json_files import read_json, read_or_empty
from handwriting.storage.keys import file_key
from handwriting.storage.places import WEIGHTS_DIR

FACTS = "facts.json"  # next to generated images
MANIFEST = "manifest.json"
WEIGHTS = "[!.]*.safetensors"  # without partial files
NEW = "What is tested must not have seen a test writer: remove the leak, then re-run these stages."
MAX_NAMED = 5  # writers of a file
_KEY = re.compile(r'"([0-9a-f]{16})"')


def writers_seen(*sources: PackedImages | Weights | Manifest) -> list[str]:
    """The names of all writers whose images have contributed to the inputs of a stage.

    Raises:
        InputError: weights or generated images that do not name these writers.
    """
    return sorted({name for source in sources for name in _seen_by(source)} - {UNKNOWN_WRITER})


def _seen_by(source: PackedImages | Weights | Manifest) -> list[str]:
    if isinstance(source, PackedImages):
        return source.present_writers()
    if isinstance(source, Weights):
        return source.facts["writers_seen"]
    path = source.path.with_name(FACTS)
    if not path.is_file():  # made elsewhere: its writers are all that is known
        return list(source.writers)
    return [*source.writers, *Facts(path, read_json(path))["writers_seen"]]


def held_out(corpus: Corpus) -> dict[str, str]:
    """The named validation and test writers, with their split."""
    return {
        name: split for split in ("validation", "test")
        for name in writers_seen(corpus.splits[split])
    }  # fmt: skip


def check_new(path: Path, seen: Iterable[str], people: Iterable[str]) -> None:
    """Check that the weights or images of a file have not seen validation or test writers.

    Raises:
        InputError: they have; all of these writers are listed.
    """
    report_problems(str(path), [f"has seen {name}" for name in leaked(seen, people)], NEW)


def leaked(seen: Iterable[str], people: Iterable[str]) -> list[str]:
    """Those of some writers whose names, or names that look alike, are among those seen."""
    known = {look(name): name for name in people}
    return sorted({known[look(name)] for name in seen if look(name) in known})


def check_not_redrawn_by(weights: Weights, manifest: Manifest) -> None:
    """Check that a recogniser did not decide which images of a manifest were drawn again.

    Raises:
        InputError: it did, so that its accuracy on them says nothing.
    """
    facts = read_or_empty(manifest.path.with_name(FACTS))
    if facts.get("redrawn_by") == file_key(weights.path):
        raise InputError(
            f"{weights.path} cannot judge {manifest.path}: images that it misread were drawn again "
            "(generation.redraw). Use another recogniser, trained on other writers"
        )


def audit(config: Config, recognisers: Sequence[str | Path]) -> str:
    """Check that nothing that a study's recognisers are based on has seen a held-out writer.

    Args:
        recognisers: run folders or weights.

    Returns:
        A line that says what was checked.

    Raises:
        InputError: files that have seen a validation or test writer or do not name the writers
            seen, and runs that are unfinished or have read files from outside the study, all of
            them listed; or the corpus has copies.
    """
    corpus = open_corpus(config)
    ships = [load_weights(path, path.stem) for path in sorted(WEIGHTS_DIR.glob(WEIGHTS))]
    trail = _Trail(run_folder(config), [*given_weights(config), *ships], corpus)
    for recogniser in recognisers:
        path = Path(recogniser).absolute()
        trail.follow(path.parent if path.is_file() else path, reader="")
    people = {name: writers_seen(split) for name, split in corpus.splits.items()}
    problems = [*on_two_sides(people), *trail.problems]
    report_problems("audit", problems, NEW)
    num_manifests = sum(path.name == MANIFEST for path in trail.files)
    line = f"audit: {len(trail.files) - num_manifests} weights, {num_manifests} manifests"
    if UNKNOWN_WRITER in corpus.test.present_writers():
        line += ", no named test writer seen, no copy of a test image without a writer"
    else:
        line += ", no test writer seen"
    return f"{line}; names from {corpus.names_from}"


def redraw_arm(config: Config) -> str:
    """The study's arm that ``generation.redraw`` names, "" if it is unset or names weights."""
    named = config.generation.redraw or ""
    return "" if os.path.exists(named) else named


def given_weights(config: Config) -> list[Weights]:
    """The weights from outside the study that it starts from.

    They name all writers they have seen, so that nothing further has to be traced.

    Raises:
        InputError: missing, of another kind, or of another image size.
    """
    given = {
        "image_encoder": config.image_weight, "text_encoder": config.text_weight,
        "clip": config.clip_weight, "cdiffusion": config.cdiffusion.start,
        "classifier": None if redraw_arm(config) else config.generation.redraw,
    }  # fmt: skip
    sizes = {"text_encoder": None}
    return [
        load_weights(path, kind, sizes.get(kind, config.size_px))
        for kind, path in given.items() if path
    ]  # fmt: skip


def check_given(config: Config, corpus: Corpus) -> None:
    """Check that a study can start from the given weights from outside.

    Raises:
        InputError: they are of other characters or have seen validation or test writers; and those
            of :func:`given_weights`.
    """
    for weights in given_weights(config):
        weights.require_characters(corpus.characters)
        check_new(weights.path, weights.facts["writers_seen"], held_out(corpus))


class _Trail:
    """What has been traced so far."""

    def __init__(self, study: Path, given: list[Weights], corpus: Corpus) -> None:
        self.files: list[Path] = []  # weights and manifests, sources before what is made of them
        self.problems: list[str] = []
        self._runs: set[Path] = set()
        self._study = study
        self._held_out = held_out(corpus)
        self._given = {file_key(weights.path): weights for weights in given}
        weights = (path for path in study.rglob(WEIGHTS) if (path.parent / "config.json").is_file())
        self._run_of = {file_key(path): path.parent for path in weights}
        for path in study.rglob(MANIFEST):
            self._run_of[files_key(read_manifest(path))] = path.parent

    def follow(self, run: Path, reader: str) -> None:
        """Check the runs whose outputs a run has read, then its own outputs.

        Args:
            reader: the run that led here, "" for a recogniser.
        """
        if run in self._runs:
            return
        self._runs.add(run)
        name = os.path.relpath(run, self._study)
        went_in = read_json(run / "config.json")
        done = run / "done.json"
        if not done.is_file() or read_json(done)["key"] != went_in["key"]:
            self.problems.append(f"{name}: not finished")
        for what, value in went_in["inputs"].items():
            for key in _KEY.findall(json.dumps(value)):
                if key in self._run_of:
                    self.follow(self._run_of[key], name)
                elif key in self._given:
                    weights = self._given[key]
                    if weights.path not in self.files:
                        self.files.append(weights.path)
                        self._check(str(weights.path), weights, f"; read by {name}")
                elif what != "corpus":  # the facts name its writers
                    self.problems.append(f"{name}: read {what} {key}, which is not from this study")
        made = [*sorted(run.glob(WEIGHTS)), *run.glob(MANIFEST)]
        self.files += made
        read_by = f"; read by {reader}" if reader else ""
        for path in made:
            is_manifest = path.name == MANIFEST
            source = read_manifest(path) if is_manifest else load_weights(path, path.stem)
            self._check(f"{name}/{path.name}", source, read_by)

    def _check(self, what: str, source: Weights | Manifest, read_by: str) -> None:
        try:
            if isinstance(source, Manifest):  # of this study, whose generators all write one
                read_json(source.path.with_name(FACTS))
            seen = writers_seen(source)
        except InputError as error:
            self.problems.append(str(error))
            return
        if found := [f"{w} ({self._held_out[w]})" for w in leaked(seen, self._held_out)]:
            if len(found) > MAX_NAMED:
                found[MAX_NAMED:] = [f"{len(found) - MAX_NAMED} more"]
            self.problems.append(f"{what}: has seen {', '.join(found)}{read_by}")
