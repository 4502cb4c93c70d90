"""Manifests: read as written, checked whole, split by people."""

import json
from pathlib import Path

import pytest
from conftest import SMOKE, WRITERS, Write

from handwriting.corpus.audit import check_splits
from handwriting.errors import InputError
from handwriting.images.manifest import (
    Entry,
    Manifest,
    read_images,
    read_manifest,
    write_manifest,
)


def test_reading_gives_every_image_with_its_character_and_writer(write_images: Write) -> None:
    path = write_images()
    manifest = read_manifest(path)
    assert manifest.characters == tuple(SMOKE)
    assert manifest.writers == WRITERS
    expected = [(c, path.parent / f"U+{ord(c):04X}/{w}.png", w) for c in SMOKE for w in WRITERS]
    assert [(e.character, e.path, e.writer) for e in manifest.entries] == expected


def test_writing_and_reading_is_a_round_trip(write_images: Write, tmp_path: Path) -> None:
    manifest = read_manifest(write_images())
    renamed = [Entry(e.character, e.file, f"person {e.writer}") for e in manifest.entries]
    written = write_manifest(tmp_path / "manifest.json", renamed)
    assert read_manifest(written.path).entries == tuple(renamed)


def test_writers_json_comes_before_the_path(write_images: Write) -> None:
    path = write_images()
    file = f"U+{ord('木'):04X}/writer_01.png"
    path.with_name("writers.json").write_text(json.dumps({file: "Hanako"}))
    of_tree = [e.writer for e in read_manifest(path).entries if e.character == "木"]
    assert of_tree == ["Hanako", *WRITERS[1:]]


def test_every_problem_is_reported_at_once(write_images: Write) -> None:
    path = write_images(characters="あ木林")
    listing = json.loads(path.read_text(encoding="utf-8"))
    kept = listing["あ"][0]
    listing |= {"あ": [kept, kept], "木": ["gone.png"], "休": [], "ab": ["x.png"], "シ": "y.png"}
    path.write_text(json.dumps(listing), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_manifest(path, "あ木休ツ")
    message = str(caught.value)
    for problem in (
        f"あ: {kept} is listed again",
        f"木: missing image {path.parent / 'gone.png'}",
        "休: no images (empty class)",
        "key 'ab': not a single character",
        "シ: expected a list of paths, found str",
        "ツ (U+30C4): in the class list, not in the manifest",
        str(path),
    ):
        assert problem in message


def test_a_character_listed_twice_loses_no_images_silently(write_images: Write) -> None:
    path = write_images(characters="木林")
    text = path.read_text(encoding="utf-8").replace("林", "木")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"manifest\.json.*木"):
        read_manifest(path)


def test_characters_of_the_class_list_are_kept_and_others_left_out(write_images: Write) -> None:
    assert set(read_manifest(write_images(), "休木").characters) == {"休", "木"}


def test_all_unreadable_images_are_listed(write_images: Write) -> None:
    path = write_images(characters="木林")
    manifest = read_manifest(path)
    broken = [manifest.entries[1].path, manifest.entries[7].path]
    for file in broken:
        file.write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        [*read_images(manifest, 16, "reading")]
    assert all(str(file) in str(caught.value) for file in broken)
    assert "2 problem(s)" in str(caught.value)


def test_shared_files_and_shared_writers_are_named() -> None:
    def of(*entries: Entry) -> Manifest:
        return Manifest(Path("/none/manifest.json"), entries)

    first, second, third = (Entry("ア", f"/none/{i}.png", f"person {i}") for i in range(3))
    with pytest.raises(InputError, match=r"person 1 is in train and in test"):
        check_splits({"train": of(second), "test": of(second, third)})
    other_hand = Entry("ア", first.file, "somebody else")
    with pytest.raises(InputError, match=f"{first.path} is in train and in validation"):
        check_splits({"train": of(first), "validation": of(other_hand)})
    check_splits({"train": of(first), "test": of(second, third)})
