"""Manifests: read as written, checked whole, split by people."""

import json
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from conftest import SMOKE, WRITERS, Write

from handwriting.corpus.splits import check_splits
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
    files = [file for files in json.loads(path.read_text("utf-8")).values() for file in files]
    names = {file: f"the {Path(file).stem}" for file in files}
    path.with_name("writers.json").write_text(json.dumps(names))
    assert read_manifest(path).writers == tuple(f"the {writer}" for writer in WRITERS)


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
        f"あ: {kept} is listed twice",
        f"木: missing image {path.parent / 'gone.png'}",
        "休: no images (empty class)",
        "'ab' is not a single character",
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


def rewritten(path: Path, write: Callable[[str], str]) -> Path:
    """The manifest with other text in its place."""
    path.write_text(write(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def test_keys_are_composed(write_images: Write) -> None:
    path = rewritten(write_images(characters="がポ"), partial(unicodedata.normalize, "NFD"))
    assert read_manifest(path).characters == read_manifest(path, "ポが").characters == ("が", "ポ")


@pytest.mark.parametrize("other", ["\u2f08", "人\ufe00", "\u2f08\ufe00"])
def test_a_key_in_another_code_point_is_named(other: str, write_images: Write) -> None:
    path = rewritten(write_images(characters="人木"), lambda text: text.replace("人", other))
    for wanted in (None, "人木"):
        with pytest.raises(InputError, match=rf"U\+{ord(other[-1]):04X} .*U\+4EBA"):
            read_manifest(path, wanted)
    if len(other) == 1:
        assert read_manifest(path, "木").characters == ("木",)


def test_two_keys_of_one_letter_are_refused(write_images: Write) -> None:
    path = write_images(characters="アｱ木")
    for wanted in (None, "ア木", "ｱ"):
        with pytest.raises(InputError, match=r"U\+30A2 .*U\+FF71 HALFWIDTH"):
            read_manifest(path, wanted)
    assert read_manifest(path, "木").characters == ("木",)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("slash", ["/", "\\", "/./", "\\.\\"])
def test_paths_in_another_normal_form_or_with_backslashes_are_found(
    form: str, written: str, slash: str, tmp_path: Path, write_images: Write
) -> None:
    source = write_images(characters="木", writers=["writer_01", "writer_02"])
    there = [unicodedata.normalize(form, name) for name in ("パリ/Jörg/が.png", "パリ/Jörg/é.png")]
    for image, name in zip(sorted(source.parent.rglob("*.png")), there, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(image.read_bytes())
    files = [unicodedata.normalize(written, name).replace("/", slash) for name in there]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"木": files}), encoding="utf-8")
    assert [entry.file for entry in read_manifest(path).entries] == [
        str(tmp_path / name) for name in there
    ]
    path.write_text(json.dumps({"木": [*files, there[0]]}), encoding="utf-8")
    with pytest.raises(InputError, match="listed twice"):
        read_manifest(path)
    path.write_text(json.dumps({"木": [f"..{slash}{tmp_path.name}{slash}{files[0]}"]}))
    assert read_manifest(path).entries[0].file == str(tmp_path / there[0])
    path.write_text(json.dumps({"木": [f"..{slash}x.png", f"é{slash}x.png"]}))
    with pytest.raises(InputError, match="2 problem"):
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
