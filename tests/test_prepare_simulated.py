"""Simulated writers as files: a manifest like any other, with the same images as ``data``."""

from pathlib import Path

import numpy as np
import pytest
from conftest import SMOKE, ComposeSmoke

import prepare_simulated
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import PackedImages
from handwriting.images.reading import read_canonical


def test_every_writer_and_character_is_in_the_manifest(smoke: ComposeSmoke, tmp_path: Path) -> None:
    path = prepare_simulated.main(smoke("data.num_writers=4", "data.samples_per_writer=2"))
    assert path == tmp_path / "runs" / "smoke" / "simulated" / "manifest.json"
    manifest = read_manifest(path, SMOKE)
    assert manifest.writers == tuple(f"simulated_{number:04d}" for number in range(4))
    found = [(entry.character, entry.writer) for entry in manifest.entries]
    assert {found.count(pair) for pair in found} == {2}
    assert len(found) == 4 * 2 * len(SMOKE)


def of_writer(packed: PackedImages, writer: str, character: str) -> bytes:
    images = packed.by([writer]).of([character]).images
    assert len(images) == 1
    return np.asarray(images[0]).tobytes()


def test_the_files_are_the_images_that_the_study_draws_by_itself(smoke: ComposeSmoke) -> None:
    config = smoke()
    drawn = open_corpus(config)
    everyone = (drawn.train, drawn.validation, drawn.test)
    for entry in read_manifest(prepare_simulated.main(config)).entries:
        split = next(s for s in everyone if entry.writer in s.present_writers())
        image = read_canonical(entry.path, 16)
        assert image.tobytes() == of_writer(split, entry.writer, entry.character)


def test_a_study_may_be_made_of_the_files(smoke: ComposeSmoke) -> None:
    path = prepare_simulated.main(smoke())
    corpus = open_corpus(
        smoke("data=manifest", f"data.manifest={path}", "data.num_simulated_writers=0",
              "data.train_writers=3")
    )  # fmt: skip
    sizes = [len(split) for split in (corpus.train, corpus.validation, corpus.test)]
    assert sizes == [18, 6, 6]
    assert "".join(corpus.characters) == SMOKE


def test_handwriting_of_somebody_else_is_not_written_over(
    smoke: ComposeSmoke, tmp_path: Path
) -> None:
    theirs = tmp_path / "runs" / "smoke" / "simulated" / "manifest.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(InputError, match=r"holds manifest\.json"):
        prepare_simulated.main(smoke())
    assert theirs.read_text() == "mine"
