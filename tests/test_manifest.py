"""Manifests: read as written, checked whole, split by people."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import KATAKANA, SMOKE, WRITERS
from hypothesis import given, settings, strategies as st

from handwriting.corpus.audit import check_splits
from handwriting.corpus.splits import split_by_writer
from handwriting.errors import InputError
from handwriting.images.manifest import (
    Entry,
    Manifest,
    read_images,
    read_manifest,
    write_manifest,
)
from handwriting.images.reading import read_canonical

Write = Callable[..., Path]


def made_up(num_writers: int, characters: str = "アイ") -> Manifest:
    """A manifest of files that need not exist."""
    entries = [
        Entry(character, f"/none/{character}/{number}.png", f"person {number}")
        for character in characters
        for number in range(num_writers)
    ]
    return Manifest(Path("/none/manifest.json"), tuple(entries))


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


def test_a_manifest_may_be_moved_with_its_images(write_images: Write, tmp_path: Path) -> None:
    path = write_images()
    before = read_manifest(path)
    path.parent.rename(tmp_path / "moved")
    after = read_manifest(tmp_path / "moved" / "manifest.json")
    assert [e.path.relative_to(after.path.parent) for e in after.entries] == [
        e.path.relative_to(before.path.parent) for e in before.entries
    ]


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


def test_images_are_read_in_the_order_of_the_entries(write_images: Write) -> None:
    manifest = read_manifest(write_images())
    images = np.concatenate([*read_images(manifest, 16, "reading")])
    for entry, image in zip(manifest.entries, images, strict=True):
        np.testing.assert_array_equal(image, read_canonical(entry.path, 16))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_splits_are_complete_disjoint_and_decided_by_the_seed(data: st.DataObject) -> None:
    num_writers = data.draw(st.integers(3, 12))
    num_train = data.draw(st.integers(1, num_writers - 2))
    num_validation = data.draw(st.integers(0, num_writers - num_train - 1))
    seed = data.draw(st.integers(0, 2**32))
    manifest = made_up(num_writers)
    splits = split_by_writer(manifest, num_train, num_validation, seed)
    check_splits(splits)
    assert list(map(len, (splits[name].writers for name in splits))) == [
        num_train, num_validation, num_writers - num_train - num_validation,
    ]  # fmt: skip
    together = [entry for split in splits.values() for entry in split.entries]
    assert sorted(together, key=str) == sorted(manifest.entries, key=str)
    assert split_by_writer(manifest, num_train, num_validation, seed) == splits


def test_seeds_choose_different_people() -> None:
    chosen = {split_by_writer(made_up(10), 5, 1, seed)["train"].writers for seed in range(10)}
    assert len(chosen) > 5


@pytest.mark.parametrize(("train", "validation"), [(0, 1), (4, 1), (5, 0), (9, 9)])
def test_too_few_writers_are_refused(train: int, validation: int) -> None:
    with pytest.raises(InputError, match="has 5 writers: too few"):
        split_by_writer(made_up(5), train, validation, 0)


def test_an_image_without_a_writer_is_named_before_splitting() -> None:
    entry = Entry("ア", "/none/anonymous.png", "")
    with pytest.raises(InputError, match=r"no writer known for /none/anonymous\.png"):
        split_by_writer(Manifest(Path("/none/manifest.json"), (entry,)), 1, 1, 0)


def test_shared_files_and_shared_writers_are_named() -> None:
    everyone = made_up(3)
    first, second, third = everyone.entries[:3]
    with pytest.raises(InputError, match=r"person 1 is in train and in test"):
        check_splits({"train": everyone.only([second]), "test": everyone.only([second, third])})
    other_hand = Entry(first.character, first.file, "somebody else")
    with pytest.raises(InputError, match=f"{first.path} is in train and in validation"):
        check_splits({"train": everyone.only([first]), "validation": everyone.only([other_hand])})
    check_splits({"train": everyone.only([first]), "test": everyone.only([second, third])})


@pytest.mark.skipif(not KATAKANA.is_file(), reason="the real katakana are not here")
def test_the_real_katakana_are_complete() -> None:
    manifest = read_manifest(KATAKANA)
    assert (len(manifest.entries), len(manifest.characters), len(manifest.writers)) == (470, 47, 10)
    splits = split_by_writer(manifest, 5, 1, 0)
    check_splits(splits)
    assert [len(split.entries) for split in splits.values()] == [235, 47, 188]
    assert len(np.unique(np.concatenate([*read_images(manifest, 32, "reading")]), axis=0)) == 470
