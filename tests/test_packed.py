"""Packed images: made once, opened without being read, labels and writers never mixed up."""

import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMOKE, WRITERS, Write
from hypothesis import given, strategies as st
from PIL import Image

from benchmarks.damage import harm
from handwriting.corpus.bank import ImageBank
from handwriting.images import packed as packing
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import (
    LazyImages,
    PackedImages,
    UnpackedImages,
    concatenate,
    open_packed,
    pack_manifest,
    save_packed,
)
from handwriting.images.reading import read_canonical
from handwriting.storage import stamps
from handwriting.storage.json_files import write_json

Fact = tuple[str, str, int]


def facts(packed: PackedImages) -> list[Fact]:
    """(character, writer, content) of every image; the content is its first pixel."""
    return [
        (packed.characters[label], packed.writer_names[writer], int(image[0, 0]))
        for image, label, writer in zip(packed.images, packed.labels, packed.writers, strict=True)
    ]


@st.composite
def packed_sets(draw: st.DrawFn, characters: str = "", writers: str = "") -> PackedImages:
    characters = characters or "".join(draw(st.permutations("アイウエ")))
    writers = writers or "".join(draw(st.permutations("abcd")))[: draw(st.integers(1, 4))]
    size = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return PackedImages(
        rng.integers(0, 256, (size, 4, 4), np.uint8),
        rng.integers(0, len(characters), size),
        rng.integers(0, len(writers), size),
        tuple(characters),
        tuple(writers),
    )


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_rows_are_indexed_like_the_array_that_they_stand_for(
    sizes: list[int], data: st.DataObject
) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (size, 2, 3), np.uint8) for size in sizes]
    one = st.integers(0, sum(sizes) - 1)
    chosen = np.array(data.draw(st.lists(one, min_size=1)))
    rows, expected = LazyImages(arrays, chosen), np.concatenate(arrays)[chosen]
    place = st.integers(-len(chosen), len(chosen) - 1)
    index = data.draw(
        st.one_of(
            place,
            st.slices(len(chosen)),
            st.lists(place).map(lambda places: np.array(places, np.int64)),
            st.lists(place, min_size=6, max_size=6).map(lambda six: np.reshape(six, (3, 2))),
            st.just(chosen % 2 == 0),
        )
    )
    np.testing.assert_array_equal(rows[index], expected[index])
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal([*rows], expected)


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that a call holds at once, mapped files left out."""
    work()  # what is imported or made once is not counted
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_drawing_a_batch_of_a_large_source_holds_the_batch_only(tmp_path: Path) -> None:
    shape = (20_000, 64, 64)  # 82 MB
    numbers = np.arange(shape[0])
    parts = (np.zeros((1000, 64, 64), np.uint8) for _ in range(20))
    save_packed(
        tmp_path, UnpackedImages(parts, numbers % 2, numbers % 5, ("ア", "イ"), tuple("abcde"), 64)
    )

    def draw() -> None:
        packed = open_packed(tmp_path)
        both = concatenate([packed.by([*"acde"]), packed.of("アイ").select(numbers[::2])])
        bank = ImageBank(both, torch.device("cpu"))
        assert bank.take(bank.draw(256, torch.Generator())).shape == (256, 64, 64)

    assert peak_bytes(draw) < 3 * 256 * 64 * 64 + 100 * shape[0]


def test_packing_holds_a_part_of_the_images_only(tmp_path: Path) -> None:
    zeros = np.zeros(6_400, np.int64)

    def pack() -> None:
        parts = (np.full((100, 64, 64), i, np.uint8) for i in range(64))
        made = UnpackedImages(parts, zeros, zeros, ("ア",), ("a",), 64)
        save_packed(tmp_path, made)

    assert peak_bytes(pack) < 3 * 100 * 64 * 64
    images = open_packed(tmp_path).images
    np.testing.assert_array_equal(images[:, 5, 5], np.arange(64).repeat(100))


@given(st.lists(packed_sets("アイウエ"), min_size=1, max_size=4))
def test_concatenating_keeps_every_image_with_its_character_and_writer(
    parts: list[PackedImages],
) -> None:
    assert facts(concatenate(parts)) == [fact for part in parts for fact in facts(part)]


def test_concatenating_other_characters_is_refused() -> None:
    zero = np.zeros(1, np.int64)
    one = PackedImages(np.zeros((1, 1, 1), np.uint8), zero, zero, ("ア",), ("a",))
    with pytest.raises(ValueError, match="different characters"):
        concatenate([one, replace(one, characters=("イ",))])


@given(packed_sets(), st.permutations("アイウエオ"), st.integers(1, 5))
def test_of_relabels_and_keeps_what_is_asked_for(
    packed: PackedImages, order: list[str], number: int
) -> None:
    wanted = order[:number]
    found = packed.of(wanted)
    assert found.characters == tuple(wanted)
    assert facts(found) == [fact for fact in facts(packed) if fact[0] in wanted]
    assert set(found.absent()) == set(wanted) - {fact[0] for fact in facts(packed)}


@given(packed_sets(), st.data())
def test_by_and_select_keep_facts_together(packed: PackedImages, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from(packed.writer_names), unique=True))
    assert facts(packed.by(wanted)) == [fact for fact in facts(packed) if fact[1] in wanted]
    assert packed.present_writers() == [
        name for name in packed.writer_names if name in {fact[1] for fact in facts(packed)}
    ]
    keep = np.array(data.draw(st.lists(st.integers(0, len(packed) - 1))), np.int64)
    assert facts(packed.select(keep)) == [facts(packed)[i] for i in keep]


def test_packing_a_manifest_keeps_its_entries(write_images: Write, tmp_path: Path) -> None:
    manifest = read_manifest(write_images())
    packed = pack_manifest(manifest, 16, tmp_path)
    assert (packed.characters, packed.writer_names) == (tuple(SMOKE), WRITERS)
    for i, entry in enumerate(manifest.entries):
        assert packed.characters[packed.labels[i]] == entry.character
        assert packed.writer_names[packed.writers[i]] == entry.writer
        np.testing.assert_array_equal(packed.images[i], read_canonical(entry.path, 16))


def test_an_unchanged_manifest_is_not_read_again(
    write_images: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(write_images())
    first = pack_manifest(manifest, 16, tmp_path)
    monkeypatch.delattr(packing, "read_images")
    np.testing.assert_array_equal(pack_manifest(manifest, 16, tmp_path).images, first.images)
    with pytest.raises(NameError):
        pack_manifest(manifest, 17, tmp_path)


def test_an_edited_or_relabelled_image_is_packed_again(write_images: Write, tmp_path: Path) -> None:
    path = write_images(characters="木林")
    manifest = read_manifest(path)
    first = pack_manifest(manifest, 16, tmp_path)
    edited, other = manifest.entries[0].path, manifest.entries[-1].path
    edited.write_bytes(other.read_bytes())
    os.utime(edited, ns=(1, 1))
    second = pack_manifest(manifest, 16, tmp_path)
    np.testing.assert_array_equal(second.images[0], first.images[-1])
    np.testing.assert_array_equal(second.images[1:], first.images[1:])
    text = path.read_text(encoding="utf-8").translate(str.maketrans("木林", "林木"))
    path.write_text(text, encoding="utf-8")
    third = pack_manifest(read_manifest(path), 16, tmp_path)
    assert [c for c, *_ in facts(third)] == [*"林林林林林木木木木木"]


def test_another_image_of_the_same_size_and_time_is_packed_again(tmp_path: Path) -> None:
    """As from an archive whose files all have one time."""
    path, inks = tmp_path / "a.bmp", ((3, 9), (9, 3))
    (tmp_path / "manifest.json").write_text('{"木": ["a.bmp"]}', encoding="utf-8")
    packed = []
    for rows, columns in inks:
        picture = np.full((16, 16), 255, np.uint8)
        picture[:rows, :columns] = 0
        Image.fromarray(picture).save(path)
        os.utime(path, ns=(1, 1))
        manifest = read_manifest(tmp_path / "manifest.json")
        packed.append(pack_manifest(manifest, 16, tmp_path / "cache").images[0])
    np.testing.assert_array_equal(packed[0], packed[1].T)
    assert (packed[0] != packed[1]).any()


PACKED = PackedImages(
    np.arange(192, dtype=np.uint8).reshape(3, 8, 8), np.arange(3), np.zeros(3, np.int64),
    tuple("アイウ"), ("a",),
)  # fmt: skip


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("keeps_time", [False, True])
@pytest.mark.parametrize("damage", ["deleted", "flipped"])
@pytest.mark.parametrize(
    "name", ["images.npy", "labels.npy", "writers.npy", "meta.json", "missing.json"]
)
def test_a_damaged_cache_is_made_again(
    name: str, damage: str, keeps_time: bool, large: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(stamps, "LARGE", 0 if large else 2**24)
    made = []

    def make() -> PackedImages:
        write_json(tmp_path / "missing.json", [["ア", "blank glyph"]])
        made.append(1)
        return PACKED

    packing.cached(tmp_path, make)
    harm(tmp_path / name, damage, keeps_time)
    assert facts(packing.cached(tmp_path, make)) == facts(PACKED)
    assert len(made) == 2
    assert facts(packing.cached(tmp_path, make)) == facts(PACKED)
    assert len(made) == 2


def test_an_interrupted_packing_is_done_again(tmp_path: Path) -> None:
    def interrupted() -> PackedImages:
        save_packed(tmp_path / "set", PACKED)
        (tmp_path / "set" / "meta.json").unlink()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packing.cached(tmp_path / "set", interrupted)
    again = packing.cached(tmp_path / "set", lambda: PACKED)
    assert facts(again) == facts(PACKED)
