"""From ETL files to a study: whole files or one error, other people in every split, same bytes."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import numpy as np
import pandas as pd
import pytest
from conftest import ComposeSmoke
from etl_encoder import DrawnFile, drawn_files, small_sets

import prepare_etl
from benchmarks.damage import harm
from handwriting.characters.classes import class_list
from handwriting.config import SPLITS, Config
from handwriting.corpus.corpus import _opened, open_corpus
from handwriting.corpus.splits import check_splits
from handwriting.errors import InputError
from handwriting.etl import SETS, EtlFile, preparation
from handwriting.etl.preparation import prepare_images
from handwriting.etl.settings import Preparation
from handwriting.images.canonical import canonical, margin_px, smooth
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import PackedImages, open_packed, pack_manifest
from handwriting.images.reading import read_grey
from handwriting.script import compose
from handwriting.storage import stamps

Study = Callable[..., Config]
CHARACTERS = "あい亜哀アイ"  # ETL9G has the first four, ETL5 the others, イ twice by everybody
HEADER_QUALITY = 16  # byte of an ETL9G record


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[DrawnFile]:
    return drawn_files(tmp_path_factory.mktemp("drawn") / "ETL")


@pytest.fixture
def etl_folder(drawn: list[DrawnFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Drawn files of all sets, and the table of files as small as they are."""
    for name, small in small_sets(SETS, drawn).items():
        monkeypatch.setitem(SETS, name, small)
    return Path(shutil.copytree(drawn[0].path.parents[1], tmp_path / "ETL"))


@pytest.fixture
def study(smoke: ComposeSmoke, etl_folder: Path, tmp_path: Path) -> Study:
    """The paper's protocol on the drawn files, with overrides."""

    def composed(
        *more: str, data: str = "etl_paper", characters: str = CHARACTERS, output: str = "out"
    ) -> Config:
        return smoke(
            f"data={data}", f"data.characters={characters}", f"data.etl.folder={etl_folder}",
            f"data.etl.output={tmp_path / output}", *more,
        )  # fmt: skip

    return composed


def splits_in(output: Path) -> dict[str, PackedImages]:
    return {split: open_packed(output / split) for split in SPLITS}


def summary_in(output: Path) -> dict[str, dict[str, dict[str, int]]]:
    return dict(json.loads((output / "summary.json").read_text()))


def contents(output: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in sorted(output.rglob("*")) if path.is_file())
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def source_of(split: Path, files: dict[str, EtlFile]) -> list[tuple[EtlFile, int]]:
    """The file and the record of each image of a split."""
    records = pd.read_csv(split / "records.csv")
    return [(files[name], record) for name, record in records.itertuples(index=False)]


@pytest.fixture
def files(drawn: list[DrawnFile]) -> dict[str, EtlFile]:
    return {file.path.name: EtlFile(file.path) for file in drawn if file.set_name != "ETL2"}


# The protocols ------------------------------------------------------------------------------------


def test_the_paper_trains_on_611768_images_of_3057_classes() -> None:
    config = compose(["data=etl_paper"])
    etl = config.data.etl
    assert etl is not None
    assert etl.samples_per_class is not None
    per_class = SETS["ETL9G"].files["ETL9G_01"] * 50 // 3036
    katakana_each = SETS["ETL5"].files["ETL5C"] // 51
    assert (per_class, katakana_each) == (200, etl.samples_per_class)
    kanji, hiragana, katakana = (len(class_list(n)) for n in ("kanji", "hiragana", "katakana"))
    own = (kanji + hiragana) * per_class + katakana * katakana_each
    assert own == 611_768
    assert class_list(str(config.data.characters)) == class_list("all")
    assert len(set(class_list("evaluation")) & set(class_list("all"))) == 973


def test_the_papers_protocol_on_a_few_files(study: Study) -> None:
    output = prepare_etl.main(study("data.etl.samples_per_class=4"))
    splits = splits_in(output)
    train = splits["train"]
    assert [int((train.labels == i).sum()) for i in range(6)] == [3, 3, 3, 3, 4, 4]
    # イ was written twice by each of four people: capped, it is one by each.
    assert Counter(train.of("イ").writers.tolist()).most_common(1)[0][1] == 1
    assert set(train.present_writers()) == {
        *(f"ETL9:{number:03}" for number in (0, 4, 8)), *(f"ETL5:{6001 + i}" for i in range(4)),
    }  # fmt: skip
    evaluated = [name[:4] for split in SPLITS[1:] for name in splits[split].present_writers()]
    assert Counter(evaluated) == {"ETL8": 3, "ETL1": 4, "ETL6": 4}
    assert [len(splits[split].present_writers()) for split in SPLITS[1:]] == [5, 6]
    assert splits["test"].absent() == ["亜", "哀"]


def test_fewshot_takes_one_image_of_each_class_by_each_of_n_writers(study: Study) -> None:
    config = study("data.etl.train_writers=2", "data.etl.samples_per_class=2",
                   "data.etl.train_sets=[ETL5]", "data.etl.evaluation_sets=[ETL5]",
                   data="etl_fewshot", characters="アイ")  # fmt: skip
    splits = splits_in(prepare_etl.main(config))
    pairs = np.stack([splits["train"].labels, splits["train"].writers], axis=1)
    assert sorted(pairs.tolist()) == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [len(splits[split].present_writers()) for split in SPLITS] == [2, 1, 1]
    assert_disjoint(splits)


def test_one_writer_is_enough_where_nobody_is_tested(study: Study) -> None:
    config = study("data.etl.train_writers=1", "data.etl.validation_writers=0",
                   "data.etl.test_writers=0", "data.etl.train_sets=[ETL5]",
                   "data.etl.evaluation_sets=[ETL5]", "data.num_simulated_writers=0",
                   data="etl_fewshot", characters="アイ")  # fmt: skip
    splits = splits_in(prepare_etl.main(config))
    assert [len(splits[split].present_writers()) for split in SPLITS] == [1, 0, 0]
    corpus = open_corpus(config)
    assert [len(part) for part in corpus.splits.values()] == [len(splits["train"]), 0, 0]


def assert_disjoint(splits: dict[str, PackedImages]) -> None:
    names = [name for split in splits.values() for name in split.present_writers()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("seed", range(4))
def test_the_same_people_at_another_resolution_are_not_on_both_sides(
    study: Study, seed: int
) -> None:
    config = study("data.etl.train_sets=[ETL9G]", "data.etl.evaluation_sets=[ETL9B]",
                   "data.etl.train_writers=1", f"data.split_seed={seed}",
                   characters="あい亜哀")  # fmt: skip
    output = prepare_etl.main(config)
    splits = splits_in(output)
    assert [len(splits[split].present_writers()) for split in SPLITS] == [1, 1, 1]
    assert_disjoint(splits)
    sets = summary_in(output)["sets"]
    assert (sets["ETL9G"]["train"], sets["ETL9G"]["not drawn"]) == (4, 8)
    assert (sets["ETL9B"]["train"], sets["ETL9B"]["not drawn"]) == (0, 4)


def test_records_of_poor_quality_are_left_out(study: Study, etl_folder: Path) -> None:
    path = etl_folder / "ETL9G" / "ETL9G_01"
    content = bytearray(path.read_bytes())
    content[HEADER_QUALITY] = 3
    content[SETS["ETL9G"].record_bytes + HEADER_QUALITY] = 2
    path.write_bytes(content)
    for limit, poor in (("null", 0), ("3", 0), ("2", 1), ("1", 2)):
        output = prepare_etl.main(study(f"data.etl.max_quality={limit}"))
        assert summary_in(output)["sets"]["ETL9G"]["poor"] == poor
        assert len(splits_in(output)["train"]) == 24 - poor


def test_prints_and_records_without_a_code_are_counted_and_left_out(study: Study) -> None:
    output = prepare_etl.main(study())
    assert not any("model" in n for split in splits_in(output).values() for n in split.writer_names)
    sets = summary_in(output)["sets"]
    assert sets["ETL6"]["no code"] == 4
    assert all(sum(count.values()) == sum(SETS[n].files.values()) for n, count in sets.items())
    with_prints = prepare_etl.main(study("data.etl.model_sets=true"))
    names = [n for split in splits_in(with_prints).values() for n in split.present_writers()]
    assert names.count("ETL8:model") == 1


def test_blank_images_are_counted_and_left_out(study: Study, etl_folder: Path) -> None:
    path, form = etl_folder / "ETL9G" / "ETL9G_02", SETS["ETL9G"]
    content = bytearray(path.read_bytes())
    place = 2 * form.record_bytes + form.image_byte
    content[place : place + form.image_bytes] = bytes(form.image_bytes)
    path.write_bytes(content)
    output = prepare_etl.main(study())
    splits = summary_in(output)["splits"]
    assert [splits[split]["blank, left out"] for split in SPLITS] == [1, 0, 0]
    train = open_packed(output / "train")
    assert (len(train), splits["train"]["images"]) == (23, 23)
    assert train.images.max(axis=(1, 2)).min() > 0
    assert "ETL9G_02,2\n" not in (output / "train" / "records.csv").read_text()


# Images -------------------------------------------------------------------------------------------


def test_every_image_is_the_canonical_form_of_its_record(
    study: Study, files: dict[str, EtlFile]
) -> None:
    output = prepare_etl.main(study("size_px=32"))
    for split, packed in splits_in(output).items():
        for i, (file, record) in enumerate(source_of(output / split, files)):
            np.testing.assert_array_equal(
                packed.images[i], canonical(255 - file.images([record])[0], 32)
            )
            assert packed.characters[packed.labels[i]] == file.characters[record]
            assert packed.writer_names[packed.writers[i]] == file.writers[record]


def test_the_png_files_give_the_same_images_through_their_manifests(
    study: Study, files: dict[str, EtlFile], tmp_path: Path
) -> None:
    output = prepare_etl.main(study("data.etl.png=true"))
    manifests = {s: read_manifest(output / "png" / s / "manifest.json") for s in SPLITS}
    check_splits(manifests)
    for split, packed in splits_in(output).items():
        again = pack_manifest(manifests[split], 16, tmp_path / "cache")
        place_of = {e.path.stem: i for i, e in enumerate(manifests[split].entries)}
        assert len(place_of) == len(packed)
        for i, (file, record) in enumerate(source_of(output / split, files)):
            place = place_of[f"{file.path.name}_{record:05d}"]
            entry = manifests[split].entries[place]
            np.testing.assert_array_equal(packed.images[i], again.images[place])
            assert packed.characters[packed.labels[i]] == entry.character
            assert packed.writer_names[packed.writers[i]] == entry.writer
            np.testing.assert_array_equal(read_grey(entry.path), 255 - file.images([record])[0])


def test_png_files_may_be_asked_for_later(study: Study, tmp_path: Path) -> None:
    output = prepare_etl.main(study())
    before = contents(output)
    prepare_etl.main(study("data.etl.png=true"))
    after = contents(output)
    assert {name: after[name] for name in before} == before
    assert "png/train/manifest.json" in after
    together = prepare_etl.main(study("data.etl.png=true", output="together"))
    assert contents(together) == after


def test_plain_pads_to_a_square_and_averages_areas(files: dict[str, EtlFile]) -> None:
    ink = files["ETL6C_01"].images()  # 64 x 63
    small, _ = prepare_images(ink, Preparation.plain, 16)
    padded = np.pad(ink, ((0, 0), (0, 1), (0, 0))).reshape(-1, 16, 4, 16, 4)
    np.testing.assert_allclose(small, padded.mean(axis=(2, 4)), atol=1.01)  # Pillow rounds twice
    same, _ = prepare_images(ink, Preparation.plain, 64)
    np.testing.assert_array_equal(same[:, :63], ink)
    assert not same[:, 63].any()
    wide, _ = prepare_images(files["ETL4C"].images(), Preparation.plain, 76)  # 72 x 76
    np.testing.assert_array_equal(wide[:, :, 2:74], files["ETL4C"].images())


def test_the_original_autoencoders_array(study: Study, files: dict[str, EtlFile]) -> None:
    people = ["data.etl.validation_writers=1", "data.etl.test_writers=1"]
    config = study("size_px=72", *people, data="etl_hiragana72", characters="あい")
    output = prepare_etl.main(config)
    array = np.load(output / "train" / "images.npy")
    assert array.shape == (6, 72, 72)  # い is written twice
    records = [record for _, record in source_of(output / "train", files)]
    np.testing.assert_array_equal(array, smooth(files["ETL4C"].images(records))[:, 2:74])


def test_a_sheet_begins_each_row_with_the_label(study: Study) -> None:
    output = prepare_etl.main(study())
    assert {path.stem for path in (output / "sheets").iterdir()} == {
        "ETL1", "ETL5", "ETL6", "ETL8G", "ETL9G",
    }  # fmt: skip
    picture = 255 - read_grey(output / "sheets" / "ETL9G.png")
    assert picture.shape == (4 * 18 + 2, (1 + 3) * 18 + 2)
    tiles = [picture[2 + 18 * i :, 2:][:16, :16] for i in range(4)]
    assert all(tile.max() > 200 and not tile[: margin_px(16)].any() for tile in tiles)
    assert len({tile.tobytes() for tile in tiles}) == 4
    third = open_packed(output / "train").images[2]  # records begin with 哀, the last class
    np.testing.assert_array_equal(picture[2 + 18 :, 20:][:16, :16], third)


# Again, resumed, with other settings --------------------------------------------------------------


def test_the_same_settings_give_the_same_bytes_by_any_number_of_processes(study: Study) -> None:
    first = contents(prepare_etl.main(study()))
    second = contents(prepare_etl.main(study("pipeline.num_workers=2", output="again")))
    assert first == second
    assert {"train/images.npy", "sheets/ETL1.png", "prepared.json", "summary.txt"} <= first.keys()


def test_what_is_prepared_is_not_made_again(study: Study, etl_folder: Path) -> None:
    output = prepare_etl.main(study())
    stamps = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    shutil.rmtree(etl_folder)
    prepare_etl.main(study())
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == stamps


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (prepare_etl, "inspect", 1),
        (prepare_etl, "write_text", 1),
        (preparation, "prepare_images", 1),
        (preparation, "prepare_images", 4),
        (preparation, "_save_split", 2),
        (preparation.os, "replace", 10),
        (prepare_etl, "write_sheets", 1),
        (prepare_etl, "write_summary", 1),
        (prepare_etl, "write_json", 1),
    ],
)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    study: Study, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, call: int
) -> None:
    whole = contents(prepare_etl.main(study(output="whole")))
    outcomes = [*(call - 1) * [DEFAULT], KeyboardInterrupt]
    config = study()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, Mock(wraps=getattr(module, name), side_effect=outcomes))
        with pytest.raises(KeyboardInterrupt):
            prepare_etl.main(config)
    for left in ("lock", ".integrity.unfinished-12345678.txt"):  # by SIGKILL
        Path(config.data.etl.output, left).touch()
    with pytest.raises(InputError, match="nothing is prepared"):
        open_corpus(config)
    assert contents(prepare_etl.main(config)) == whole


def repaired(folder: Path) -> Path:
    """A file of the sets whose first image is another, of the same size and time."""
    path = folder / "ETL9G" / "ETL9G_02"
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[1000:1010] = bytes(byte ^ 0xFF for byte in content[1000:1010])
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return path


@pytest.mark.parametrize(("elsewhere", "large"), [(False, True), (True, False), (True, True)])
def test_a_repaired_file_is_refused_by_a_study_and_prepared_again(
    elsewhere: bool, large: bool, study: Study, etl_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(stamps, "LARGE", 0 if large else 2**24)
    config = study("data.etl.png=true")
    before = contents(prepare_etl.main(config))
    key = open_corpus(config).key
    if elsewhere:
        config.data.etl.folder = str(shutil.copytree(etl_folder, tmp_path / "copy"))
        assert open_corpus(config).key == key  # the same content in another folder
    path = repaired(Path(config.data.etl.folder))
    _opened.clear()
    with pytest.raises(InputError, match=rf"before these files changed:\s+{path}\s+.*prepare_etl"):
        open_corpus(config)
    after = contents(prepare_etl.main(config))
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed >= {"train/images.npy", "prepared.json", "png/keys.json"}
    assert open_corpus(config).key != key


def test_a_file_repaired_between_two_starts_leaves_no_stale_part(
    study: Study, etl_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = study()
    with monkeypatch.context() as patch:
        patch.setattr(prepare_etl, "write_sheets", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare_etl.main(config)
    repaired(etl_folder)
    resumed = contents(prepare_etl.main(config))
    assert resumed == contents(prepare_etl.main(study(output="anew")))


@pytest.mark.parametrize(
    ("name", "damage"),
    [("prepared.json", "flipped"), ("train/images.npy", "flipped"), ("test/images.npy", "deleted"),
     ("test/records.csv", "flipped"), ("validation/meta.json", "deleted"),
     ("integrity.txt", "deleted"), ("sheets/ETL1.png", "flipped"), ("png/keys.json", "flipped"),
     ("png/train/manifest.json", "deleted"), ("png/train/U+3042/*.png", "flipped")],
)  # fmt: skip
def test_whatever_was_prepared_is_made_again_when_it_is_lost(
    name: str, damage: str, study: Study
) -> None:
    config = study("data.etl.png=true")
    output = prepare_etl.main(config)
    before = contents(output)
    harm(sorted(output.glob(name))[0], damage)
    if "images.npy" in name:
        with pytest.raises(InputError, match=r"images.npy is (missing|damaged).*prepare_etl"):
            open_corpus(config)
    prepare_etl.main(config)
    assert contents(output) == before


def test_parts_that_are_there_are_not_made_again(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = 3 + 1 + 3 + 2 + 1  # that have a chosen record: ETL9G, ETL5, ETL8G, ETL1, ETL6
    made = Mock(
        wraps=prepare_images, side_effect=[*3 * [DEFAULT], KeyboardInterrupt, *files * [DEFAULT]]
    )
    monkeypatch.setattr(preparation, "prepare_images", made)
    with pytest.raises(KeyboardInterrupt):
        prepare_etl.main(study())
    prepare_etl.main(study())
    assert made.call_count == files + 1


def test_other_settings_are_made_again_and_refused_until_then(study: Study) -> None:
    prepare_etl.main(study("data.etl.png=true"))
    other = study("size_px=20", "data.split_seed=5", "data.etl.png=true",
                  "data.etl.evaluation_sets=[ETL8G,ETL1]", characters="あいアイ")  # fmt: skip
    with pytest.raises(InputError) as caught:
        open_corpus(other)
    message = str(caught.value)
    assert "size_px: prepared with 16, requested 20" in message
    assert "split_seed: prepared with 0, requested 5" in message
    assert "characters: prepared with あい亜哀アイ, requested あいアイ" in message
    assert "python prepare_etl.py" in message
    assert "train_sets" not in message
    output = prepare_etl.main(other)
    assert open_corpus(other).train.size_px == 20
    assert not (output / "sheets" / "ETL6.png").exists()
    manifest = read_manifest(output / "png" / "train" / "manifest.json")
    assert set(manifest.characters) == set("あいアイ")


def test_interrupted_with_other_settings_the_old_arrays_do_not_count(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = study("data.etl.png=true")
    output = prepare_etl.main(first)
    with monkeypatch.context() as patch:
        patch.setattr(prepare_etl, "write_sheets", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare_etl.main(study("size_px=20"))
    with pytest.raises(InputError, match="nothing is prepared"):
        open_corpus(first)
    assert not list(output.glob("png/*/manifest.json"))


# The corpus ---------------------------------------------------------------------------------------


def test_a_study_opens_what_was_prepared(study: Study) -> None:
    config = study()
    output = prepare_etl.main(config)
    corpus = open_corpus(config)
    assert corpus.is_real
    assert "".join(corpus.characters) == CHARACTERS
    assert isinstance(corpus.train.images, np.memmap)
    for split, packed in splits_in(output).items():
        np.testing.assert_array_equal(getattr(corpus, split).images, packed.images)
    assert open_corpus(config) is corpus
    prepare_etl.main(study("data.split_seed=3"))
    with pytest.raises(InputError, match="split_seed: prepared with 3, requested 0"):
        open_corpus(config)
    prepare_etl.main(config)
    assert open_corpus(config).key == corpus.key


# What is wrong with the files ---------------------------------------------------------------------


def test_files_are_found_at_any_depth_and_under_variants_of_their_names(
    study: Study, etl_folder: Path
) -> None:
    whole = contents(prepare_etl.main(study(output="whole")))
    deep = etl_folder / "unpacked" / "more"
    deep.mkdir(parents=True)
    (etl_folder / "ETL6" / "ETL6C_01").rename(deep / "etl6c-01")
    (etl_folder / "ETL9G" / "ETL9G_02").rename(deep / "ETL9G-02")
    output = prepare_etl.main(study())
    assert contents(output).keys() == whole.keys()
    images = "train/images.npy"
    assert contents(output)[images] == whole[images]


def test_all_missing_and_broken_files_are_in_one_error(study: Study, etl_folder: Path) -> None:
    (etl_folder / "ETL9G" / "ETL9G_02").unlink()
    (etl_folder / "ETL9G" / "ETL9G_03").unlink()
    cut = etl_folder / "ETL5" / "ETL5C"
    cut.write_bytes(cut.read_bytes()[:-100])
    twice = etl_folder / "ETL1" / "ETL1C_07"
    (etl_folder / "copy").mkdir()
    shutil.copy(twice, etl_folder / "copy")
    with pytest.raises(InputError) as caught:
        prepare_etl.main(study())
    message = str(caught.value)
    assert "3 problem(s)" in message
    assert "ETL9G: 2 of 3 files missing: ETL9G_02, ETL9G_03" in message
    assert f"{cut}: expected whole records of 2952 bytes (ETL5)" in message
    assert f"also found as {etl_folder / 'copy' / 'ETL1C_07'}" in message or str(twice) in message
    assert '"ETL Character Database" of AIST' in message
    assert "http" not in message


def test_the_report_warns_and_is_written_before_the_error(
    study: Study, etl_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = etl_folder / "ETL6" / "ETL6C_05"
    short.write_bytes(short.read_bytes()[: -SETS["ETL6"].record_bytes])
    prepare_etl.main(study(output="short"))  # another number of records is only odd
    assert f"{short}: warning: expected 8 records, found 7" in capsys.readouterr().out
    (etl_folder / "ETL9G" / "ETL9G_02").unlink()
    with pytest.raises(InputError):
        prepare_etl.main(study())
    text = (tmp_path / "out" / "integrity.txt").read_text()
    assert text in capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith("ETL9G "))
    assert row.split() == ["ETL9G", "2", "3", "8", "12"]
    assert "ETL9G: 1 of 3 files missing: ETL9G_02" in text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.etl.folder=/none"], "5 problem.*\n  ETL9G: 3 of 3 files missing(.|\n)*register"),
        (["data.etl.train_sets=[ETL9]"], "ETL9\nChoose from ETL1, ETL2"),
        (["data.etl.train_writers=9"], "ETL5 has 4 writers .* data.etl.train_writers=9"),
        (["data.etl.test_writers=4"], "ETL1 has 4 writers .* data.etl.test_writers=4"),
        (["data.etl.train_sets=[ETL9G]"], "no image of ア .U.30A2.*\n.*no image of イ"),
        (["data.etl.samples_per_class=0"], "samples_per_class=0: expected 1 to"),
        (["data.etl.train_sets=[ETL9B]", "data.etl.max_quality=1"], "ETL9B has no quality marks"),
        (["data.etl.train_sets=[ETL2]"], "ETL2 needs its table"),
        (["data.characters=アイ", "data.etl.evaluation_sets=[ETL8G]"], "ETL8G: none of these"),
        (["data.characters=右"], "1 problem.*\n.*no image of 右"),
    ],
)
def test_what_cannot_be_prepared_is_named(overrides: list[str], message: str, study: Study) -> None:
    with pytest.raises(InputError, match=message):
        prepare_etl.main(study(*overrides))


def test_a_folder_of_other_things_is_not_written_to(study: Study, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds other files"):
        prepare_etl.main(study())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("characters", ["上あ宙", "上\uff71宙"])  # a letter in any code point
def test_etl2_is_read_with_its_table(characters: str, study: Study, etl_folder: Path) -> None:
    config = study(
        "data.etl.train_sets=[ETL2]", "data.etl.evaluation_sets=[ETL2]",
        "data.etl.test_writers=1", "data.etl.validation_writers=1",
        f"data.etl.co59={etl_folder / 'euc_co59.dat'}", characters=characters,
    )  # fmt: skip
    sizes = [len(split) for split in splits_in(prepare_etl.main(config)).values()]
    assert sizes == [6, 3, 3]
