"""Whose hand an image is in: by its path, by writers.json, and who is only one person twice."""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest

from handwriting.corpus.audit import check_new
from handwriting.corpus.splits import check_splits
from handwriting.errors import InputError
from handwriting.images.manifest import Entry, read_manifest, write_manifest

NFD = "NFD"
ONE = {"a.png": "あ"}


def manifest_of(folder: Path, files: Mapping[str, str], writers: object = None) -> Path:
    """A manifest of empty images, paths to characters; writers.json beside it."""
    listing: dict[str, list[str]] = {}
    for file, character in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
        listing.setdefault(character, []).append(file)
    path = folder / "manifest.json"
    path.write_text(json.dumps(listing), encoding="utf-8")
    if writers is not None:
        path.with_name("writers.json").write_text(json.dumps(writers), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("file", "writer"),
    [
        ("writer_01/sheet_2/あ.png", "writer_01"),
        ("sheet_2/page_3/writer_01_あ.png", "writer_01"),
        ("writer-07/session_1/あ.png", "writer-07"),
        ("Writer 3/あ/1.png", "Writer 3"),
        ("writerB/あ.png", "writerB"),
        ("writer_anna_k/あ.png", "writer_anna_k"),
        ("あ/writer_anna_m.png", "writer_anna_m"),
        ("writer_anna_あ.png", "writer_anna"),
        ("writer_anna_あ_2.png", "writer_anna"),
        ("あ_writer_anna_2.png", "writer_anna"),
        ("writer_anna_2/あ.png", "writer_anna_2"),
        ("writer_anna_2026-11-25/あ.png", "writer_anna"),
        ("writer_anna_U+3042_7.png", "writer_anna"),
        ("writer_anna_k_page2_あ.png", "writer_anna_k"),
        ("writer_01_02.png", "writer_01"),
        ("person1_あ.png", "person1"),
        ("person1あ.png", "person1"),
        ("scan_subject_id_12_あ.png", "subject_id_12"),
        ("writer_Jörg/あ.png", "writer_Jörg"),
        ("writer_Jörn/あ.png", "writer_Jörn"),
        (unicodedata.normalize(NFD, "writer_Jörn/あ.png"), "writer_Jörn"),
        (unicodedata.normalize(NFD, "writer_がくと_あ.png"), "writer_がくと"),
        ("筆者A/sheet_1/あ.png", "筆者A"),
        ("書き手_田中/あ.png", "書き手_田中"),
        ("author_鈴木_あ.png", "author_鈴木"),
        ("ｗｒｉｔｅｒ＿０１/あ.png", "ｗｒｉｔｅｒ＿０１"),
        ("person_anna_ア_2.png", "person_anna_ア"),  # it shows あ
        ("userID_7_あ.png", "userID_7"),
        ("participant-P07_あ.png", "participant-P07"),
        ("sheet_0001/あ.png", "sheet_0001"),
        ("あ/sheet12_3.png", "sheet12"),
        # Nobody:
        ("handwriting/あ.png", ""),
        ("typewriter_1/あ.png", ""),
        ("rewriter1_あ.png", ""),
        ("writers/あ.png", ""),
        ("writer/あ.png", ""),
        ("writer_あ.png", ""),
        ("person_names.png", ""),
        ("hand/あ.png", ""),
        ("hand_written/あ.png", ""),
        ("HandWriting/user_data/あ.png", ""),
        ("WRITERS/あ.png", ""),
        ("筆者一覧/あ.png", ""),
        ("page_1/session_2/あ.png", ""),
        ("spreadsheet_1/あ.png", ""),
        ("3042/0001.png", ""),
    ],
)
def test_a_path_names_its_writer_or_nobody(file: str, writer: str, tmp_path: Path) -> None:
    # What is above the manifest says nothing of its images.
    path = manifest_of(tmp_path / "writer_99" / "sheet_9", {file: "あ"})
    (entry,) = read_manifest(path).entries
    assert entry.writer == writer


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["writer_01/writer_02_あ.png"], ["writer_01", "writer_02", "writer_02_あ.png"]),
        (["person_anna/student_ben/あ.png"], ["person_anna", "student_ben"]),
        (["sheet_1/sheet_2.png"], ["sheet_1", "sheet_2"]),
        (["anna/sheet_1/あ.png", "ben/sheet_1/あ.png"], ["sheet_1", "anna/", "ben/"]),
        (["anna_sheet_1.png", "ben_sheet_1.png"], ["sheet_1", "anna", "ben"]),
        (["writer_Anna/1.png", "writer_anna/1.png"], ["writer_Anna", "writer_anna", "U+0041"]),
        (["writer_1/1.png", "writer_01/1.png"], ["'writer_1'", "'writer_01'"]),
        (["writer_ア/1.png", "writer_ｱ/1.png"], ["U+30A2", "U+FF71"]),
    ],
)
def test_who_cannot_be_told_apart_is_refused_with_both(
    files: list[str], said: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read_manifest(manifest_of(tmp_path, dict.fromkeys(files, "あ")))
    assert [
        what for what in [*said, "manifest.json", "writers.json"] if what not in str(caught.value)
    ] == []


def test_a_number_that_is_the_character_too_is_the_writers(tmp_path: Path) -> None:
    files = {"writer_1.png": "1", "writer11_1.png": "1", "writer_2.png": "1"}
    found = read_manifest(manifest_of(tmp_path, files))
    assert found.writers == ("writer11", "writer_1", "writer_2")


def test_a_sheet_is_a_person_only_where_nobody_is_named(tmp_path: Path) -> None:
    files = {"あ/sheet_1.png": "あ", "い/sheet_1.png": "い"}
    found = read_manifest(manifest_of(tmp_path, files))
    assert (found.writers, found.names_from) == (("sheet_1",), "sheets in paths")
    found = read_manifest(manifest_of(tmp_path, files | {"writer_1/あ.png": "あ"}))
    assert (found.writers, found.names_from) == (("", "writer_1"), "paths")


FILES = {"が/sheet_1.png": "が", "か/sheet_2.png": "か"}


@pytest.mark.parametrize(
    "key",
    ["./が/sheet_1.png", "か/../が/sheet_1.png", "が\\sheet_1.png", "{folder}/が/sheet_1.png",
     *(unicodedata.normalize(NFD, key) for key in ("が/sheet_1.png", "{folder}/が//sheet_1.png"))],
)  # fmt: skip
def test_keys_of_writers_json_lead_where_paths_do(key: str, tmp_path: Path) -> None:
    names = {key.format(folder=tmp_path): " Jörg ", "か/sheet_2.png": ""}
    found = read_manifest(manifest_of(tmp_path, FILES, names))
    assert [entry.writer for entry in found.entries] == ["Jörg", ""]
    assert found.names_from == "writers.json"


@pytest.mark.parametrize(
    ("writers", "said"),
    [
        ({"が/sheet_1.png": "anna"}, ["1 of 2 images without a key", "か/sheet_2.png"]),
        ({}, ["2 of 2 images without a key"]),
        ({**dict.fromkeys(FILES, "a"), "gone.png": "b"}, ["1 of 3 keys without an image", "gone"]),
        ({"が/sheet_1.png": "a", "./が/sheet_1.png": "b", "か/sheet_2.png": "a"}, ["same image"]),
        ({"が/sheet_1.png": "Anna", "か/sheet_2.png": "anna "}, ["'Anna' and 'anna'", "U+0061"]),
        ({"が/sheet_1.png": "Ａｎｎａ", "か/sheet_2.png": "Anna"}, ["U+FF21"]),
        ({"が/sheet_1.png": "Straße", "か/sheet_2.png": "STRASSE"}, ["Straße"]),
        ({"が/sheet_1.png": "anna", "か/sheet_2.png": "an\u200bna"}, ["U+200B"]),
    ],
)  # fmt: skip
def test_a_writers_json_that_does_not_fit_is_refused(
    writers: dict[str, str], said: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read_manifest(manifest_of(tmp_path, FILES, writers), "が")
    assert [what for what in [*said, "writers.json"] if what not in str(caught.value)] == []


def test_a_writers_json_is_shared_by_the_manifests_of_a_folder(tmp_path: Path) -> None:
    path = manifest_of(tmp_path, FILES, dict.fromkeys(FILES, "anna"))
    path.write_text(json.dumps({"が": ["が/sheet_1.png"]}), encoding="utf-8")
    assert read_manifest(path).writers == ("anna",)


def test_what_is_written_names_nobody_where_nobody_is_known(tmp_path: Path) -> None:
    path = manifest_of(tmp_path, {"writer_1.png": "あ", "writer_2.png": "あ"})
    entries = tuple(
        Entry("あ", str(tmp_path / f"writer_{i}.png"), name) for i, name in ((1, ""), (2, "x"))
    )
    assert write_manifest(path, entries).entries == read_manifest(path).entries == entries


def test_names_of_two_splits_or_of_generated_images_that_look_alike_are_refused(
    tmp_path: Path,
) -> None:
    people = {"train": "anna", "test": "Ａｎｎａ"}
    splits = {
        split: read_manifest(manifest_of(tmp_path / split, ONE, {"a.png": name}))
        for split, name in people.items()
    }
    with pytest.raises(InputError, match=r"U\+0061 and U\+FF21"):
        check_splits(splits)
    with pytest.raises(InputError, match="has seen Ａｎｎａ"):
        check_new(splits["train"].path, splits["train"].writers, splits["test"].writers)
