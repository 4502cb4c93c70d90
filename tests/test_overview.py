"""A manifest's images on a sheet, and a warning that names those unlike the fonts' character."""

from pathlib import Path

import numpy as np
import pytest
from conftest import KATAKANA

from handwriting.characters.classes import class_list
from handwriting.corpus.overview import far_from_fonts, write_overview
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import PackedImages, pack_manifest
from handwriting.images.reading import read_grey
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import font_images
from handwriting.sources.simulated_writers import simulated


def test_clean_handwriting_raises_no_alarm_and_inverted_images_do(
    tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    characters = class_list("smoke")
    people = simulated(characters, 3, 2, 0, 64, cache_dir)
    fonts, _ = font_images(find_fonts(), characters, 64, cache_dir)
    assert not len(far_from_fonts(people, fonts))
    images = np.array(people.images[:])
    images[[1, 20]] = 255 - images[[1, 20]]
    odd = PackedImages(images, people.labels, people.writers, characters, people.writer_names)
    assert far_from_fonts(odd, fonts).tolist() == [1, 20]
    for _ in range(2):  # the second time it is there
        write_overview(tmp_path / "a.png", odd, lambda: [*map(str, range(len(odd)))], fonts)
    told = capsys.readouterr().out
    assert told.count("2 image(s) have far more or less ink") == told.count("a.png") == 1
    assert f"  20 ({odd.characters[odd.labels[20]]})" in told
    assert read_grey(tmp_path / "a.png").shape[0] == 66 * len(characters) + 2


@pytest.mark.skipif(not KATAKANA.is_file(), reason="the katakana are not in this checkout")
def test_real_people_raise_no_alarm(cache_dir: Path) -> None:
    people = pack_manifest(read_manifest(KATAKANA), 32, cache_dir)
    fonts, _ = font_images(find_fonts(), people.characters, 32, cache_dir)
    assert not len(far_from_fonts(people, fonts))
