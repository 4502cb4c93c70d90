"""The comparison of arms, its pictures and the report: paired, honest, in one file."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import SMOKE, ComposeSmoke
from matplotlib.figure import Figure
from PIL import Image

from handwriting.config import Config
from handwriting.errors import InputError
from handwriting.reports.page import Picture, Section, write_report
from handwriting.runs.run import run_folder
from handwriting.storage.json_files import read_json, write_json
from training_character_classification.report import comparison, plots
from training_character_classification.report.comparison import STAND_IN, write_study_report
from training_character_classification.report.results import cost_and_gain, read_arms

Write = Callable[..., Path]
BASE = [0.2, 0.5, 0.9, 0.4]  # four test writers who differ much
EVEN = dict.fromkeys(SMOKE, 0.5)
MEASURED = {
    "content_accuracy": 0.875, "diversity": 0.5, "style_match": None, "domain_auc": 0.625,
    "nearest_distance": 0.75, "frechet_distance": 0.25, "kernel_distance": -0.125,
    "precision": 0.5, "recall": 0.25, "density": 1.5, "coverage": 0.375, "stroke_width": 2.0,
    "grey_level": None, "centroid": 0.1, "images": 24,
}  # fmt: skip


def result(
    per_writer: Sequence[float], per_character: Mapping[str, float] = EVEN, macro_f1: float = 0.5
) -> dict[str, Any]:
    """A recogniser's part of ``test/metrics.json``."""
    return {
        "accuracy": float(np.mean(per_writer)),
        "interval": [0.0, 1.0],
        "macro_f1": macro_f1,
        "per_writer": list(per_writer),
        "per_character": {c: {"accuracy": value} for c, value in per_character.items()},
        "confusions": [["シ", "ツ", 3], ["林", "木", 1]],
    }


def better(by: float) -> list[float]:
    return [value + by for value in BASE]


def write_study(config: Config, recognisers: Mapping[str, Any]) -> Config:
    """What the stages before the report leave in a study's folder."""
    folder = run_folder(config)
    write_json(folder / "test" / "metrics.json", {"recognisers": recognisers, "duration_s": 2.0})
    judged = {"judge": {"accuracy": 0.75, "style_chance": 0.2},
              "sources": {"training writers": MEASURED, "adain": MEASURED}}  # fmt: skip
    write_json(folder / "judge" / "metrics.json", {**judged, "duration_s": 1.0})
    for step in range(4):
        trained = folder / "style_transfer" / "adain" / f"step{step}" / "metrics.json"
        write_json(trained, {"duration_s": 10.0})
    # A mode whose name begins in the same way is another generator.
    write_json(folder / "style_transfer/adain_mlp/step1/metrics.json", {"duration_s": 500.0})
    generated = folder / "generated" / "adain" / "metrics.json"
    write_json(generated, {"images_per_s": 123.4, "duration_s": 7.0})
    retrieval = {"image_to_text_top1": 0.75, "duration_s": 3.0}
    write_json(folder / "clip" / "metrics.json", retrieval)
    for i in range(2):
        arm = folder / "classifier" / "real" / f"seed_{i}" / "metrics.json"
        write_json(arm, {"duration_s": 10.0})
    sheet = folder / "generated" / "adain" / "samples" / "sheet.png"
    sheet.parent.mkdir(parents=True)
    Image.new("L", (30, 20), 128).save(sheet)
    return config


@pytest.fixture
def study(smoke: ComposeSmoke) -> Callable[..., Config]:
    """A study of one generator with the results of some recognisers."""

    def written(recognisers: Mapping[str, Any], *more: str) -> Config:
        return write_study(smoke("pipeline.generators=[adain]", *more), recognisers)

    return written


def report_of(config: Config) -> tuple[str, dict[str, Any]]:
    page = write_study_report(config, dict.fromkeys(config.pipeline.generators, "a row"))
    return page.read_text("utf-8"), read_json(page.with_name("metrics.json"))


# Arms ---------------------------------------------------------------------------------------------


def test_an_arm_is_the_mean_over_its_seeds() -> None:
    arms = read_arms(
        {
            "real/seed_0": result([0.2, 0.4], {"木": 0.0, "林": 1.0}, macro_f1=0.1),
            "real+adain/seed_0": result([0.5, 0.5]),
            "real/seed_10": result([0.6, 0.6], {"木": 0.5, "林": 1.0}, macro_f1=0.3),
        }
    )
    real, generated = arms
    assert (real.name, generated.name) == ("real", "real+adain")
    assert real.accuracy == pytest.approx(0.45)
    assert real.macro_f1 == pytest.approx(0.2)
    np.testing.assert_allclose(real.per_writer, [0.4, 0.5])
    assert real.per_character == pytest.approx({"木": 0.25, "林": 1.0})


def test_gains_are_paired_by_writer(study: Callable[..., Config]) -> None:
    _, metrics = report_of(
        study({"real/seed_0": result(BASE), "real+adain/seed_0": result(better(0.05))})
    )
    low, high = metrics["arms"]["real+adain"]["interval"]
    assert high - low > 0.3  # people differ much,
    gain = metrics["arms"]["real+adain"]
    assert gain["gain_interval"] == pytest.approx([0.05, 0.05])  # the gain does not
    assert gain["gain"] == pytest.approx(0.05)
    assert metrics["arms"]["real"]["gain_interval"] == [0, 0]


def test_the_control_is_named_by_its_sources_not_by_its_accuracy(
    study: Callable[..., Config],
) -> None:
    page, metrics = report_of(
        study(
            {
                "real/seed_0": result(better(0.06)),
                "real+fonts/seed_0": result(better(0.03)),
                "real+adain/seed_0": result(better(0.08)),
                "real+adain+classical/seed_0": result(better(0.06)),
            }
        )
    )
    assert (metrics["control"], metrics["best_control"]) == ("real+fonts", "real")
    assert metrics["arms"]["real+adain"]["gain"] == pytest.approx(0.05)
    assert metrics["arms"]["real"]["gain"] == pytest.approx(0.03)
    gains = metrics["gains_per_character"]
    assert (gains["arm"], gains["over"]) == ("real+adain", "real+fonts")
    assert "Gains are over real+fonts" in page


@pytest.mark.parametrize(
    ("generated", "verdict"),
    [
        (better(0.05), ": a gain."),
        (better(-0.05), ": a loss."),
        ([0.5, 0.2, 0.8, 0.5], ": the interval holds zero: no difference is shown."),
    ],
)
def test_the_verdict_follows_the_interval(
    generated: list[float], verdict: str, study: Callable[..., Config]
) -> None:
    page, _ = report_of(
        study({"real/seed_0": result(BASE), "real+adain/seed_0": result(generated)})
    )
    verdicts = [": a gain.", ": a loss.", ": the interval holds zero", "one writer"]
    assert verdict in page
    assert sum(text in page for text in verdicts) == 1


def test_one_test_writer_shows_nothing(study: Callable[..., Config]) -> None:
    page, metrics = report_of(
        study({"real/seed_0": result([0.1]), "real+adain/seed_0": result([0.9])})
    )
    assert metrics["arms"]["real"]["interval"] is metrics["arms"]["real"]["gain_interval"] is None
    assert "<td>real+adain</td><td>0.900</td><td>-</td>" in page
    assert "nan" not in page.split("</style>")[1].partition("base64")[0]
    assert "one writer gives no interval" in page
    assert ": a gain" not in page
    assert "holds zero" not in page


# The report ---------------------------------------------------------------------------------------


def test_simulated_data_is_called_a_stand_in(study: Callable[..., Config]) -> None:
    page, metrics = report_of(study({"real/seed_0": result(BASE), "adain/seed_0": result(BASE)}))
    assert metrics["is_real"] is False
    assert f'<p class="notice">{STAND_IN}</p>' in page
    assert "2 stand-ins for people to train on, of 2 others to test on" in page


def test_nothing_of_the_kind_is_said_of_a_manifest(
    study: Callable[..., Config], write_images: Write
) -> None:
    page, metrics = report_of(
        study(
            {"real/seed_0": result(BASE), "adain/seed_0": result(BASE)},
            "data=manifest", f"data.manifest={write_images()}", "data.num_simulated_writers=0",
        )
    )  # fmt: skip
    assert metrics["is_real"] is True
    assert "notice" not in page.split("</style>")[1]
    assert "imulated" not in page
    assert "2 people to train on, of 2 others to test on" in page


def test_losers_are_listed_too(study: Callable[..., Config]) -> None:
    after = dict(zip(SMOKE, [0.9, 0.2, 0.5, 0.5, 0.6, 0.1], strict=True))
    page, metrics = report_of(
        study({"real/seed_0": result(BASE), "real+adain/seed_0": result(better(0.1), after)})
    )
    assert "Winners: あ +0.40 林 +0.10." in page
    assert "Losers: 休 -0.40 シ -0.30." in page  # the worst first
    assert metrics["gains_per_character"]["gains"]["休"] == pytest.approx(-0.4)
    assert "シ→ツ 3" in page


def test_confusions_are_summed_over_the_seeds_of_their_arm(study: Callable[..., Config]) -> None:
    page, _ = report_of(
        study(
            {
                "real/seed_0": result(BASE), "real/seed_1": result(BASE),
                "real+adain/seed_0": result(better(0.1)),
            }
        )
    )  # fmt: skip
    assert "<td>real</td><td>シ→ツ 6  林→木 2</td>" in page
    assert "<td>real+adain</td><td>シ→ツ 3  林→木 1</td>" in page
    assert "Losers: none." in page


def test_every_part_of_the_study_is_in_the_report(study: Callable[..., Config]) -> None:
    page, metrics = report_of(
        study({"real/seed_0": result(BASE), "real+adain/seed_0": result(better(0.1))})
    )
    assert "<td>image to text top1</td><td>0.750</td>" in page
    assert "<td>2 classifiers</td><td>20 s</td>" in page
    assert metrics["duration_s"]["classifier/real/seed_1"] == 10
    assert metrics["retrieval"] == {"image_to_text_top1": 0.75}
    assert page.index("<td>real+adain</td>") < page.index("<td>real</td>")  # the best first


def test_a_generator_is_measured_beside_handwriting(study: Callable[..., Config]) -> None:
    page, metrics = report_of(
        study(
            {
                "real/seed_0": result(BASE),
                "real+adain/seed_0": result(better(0.05)),
                "real+adain+classical/seed_0": result(better(0.1)),
            }
        )
    )
    measures = "<td>0.875</td><td>0.500</td><td>-</td><td>0.625</td><td>0.750</td>"
    cost = "<td>123</td><td>40</td><td>+0.100</td><td>+0.100 .. +0.100</td>"
    assert f"<td>adain</td>{measures}{cost}<td>24</td>" in page
    dashes = "<td>-</td>" * 4
    assert f"<td>training writers</td>{measures}{dashes}<td>24</td>" in page
    apart = ("0.250", "-0.125", "0.500", "0.250", "1.500", "0.375", "2.000", "-", "0.100")
    distances = "".join(f"<td>{value}</td>" for value in apart)
    assert f"<td>adain</td>{distances}</tr>" in page
    assert f"<td>training writers</td>{distances}</tr>" in page
    assert "reads 0.750 of the training writers" in page
    assert "0.20 by chance" in page
    assert metrics["judge"] == {"accuracy": 0.75, "style_chance": 0.2}
    found = metrics["sources"]["adain"]
    assert found["best_arm"] == "real+adain+classical"
    assert found["gain"] == pytest.approx(0.1)
    assert metrics["sources"]["training writers"] == MEASURED


@pytest.mark.parametrize(
    ("name", "home"),
    [("adain", "style_transfer/adain/step_end"), ("dcgan", "dcgan"), ("vae", "vae"),
     ("cdiffusion", "cdiffusion")],
)  # fmt: skip
def test_the_last_sheet_of_training_is_shown(name: str, home: str, tmp_path: Path) -> None:
    samples = tmp_path / home / "samples"
    samples.mkdir(parents=True)
    for picture in ("step_000050.png", "step_000100.png", "traversal.png"):
        (samples / picture).touch()
    trained, generated = comparison._pictures(tmp_path, {name: "a row"}).pictures
    assert trained.path == samples / "step_000100.png"
    assert trained.caption.startswith(f"{name}, training: ")
    assert generated.path == tmp_path / "generated" / name / "samples" / "sheet.png"


class Outside(HTMLParser):
    """Notes what a page would fetch or run, and its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.pictures: list[bytes] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name not in ("src", "href", "srcset", "data", "action", "poster"):
                continue
            if value and value.startswith("data:image/png;base64,"):
                self.pictures.append(base64.b64decode(value.partition(",")[2], validate=True))
            else:
                self.links.append(str(value))


def test_the_page_is_one_file_that_fetches_nothing(study: Callable[..., Config]) -> None:
    page, _ = report_of(
        study({"real/seed_0": result(BASE), "real+adain/seed_0": result(better(0.1))})
    )
    outside = Outside()
    outside.feed(page)
    assert outside.links == []
    assert not outside.tags & {"script", "link", "iframe", "object", "embed", "base"}
    assert "url(" not in page
    assert "@import" not in page
    assert len(outside.pictures) == 3  # arms, gains, the sheet of the one generator
    for picture in outside.pictures:
        Image.open(BytesIO(picture)).verify()


def test_text_is_escaped(tmp_path: Path, study: Callable[..., Config]) -> None:
    bad = "<script>alert('1')</script> & \""
    picture = tmp_path / "picture.png"
    Image.new("L", (7, 5)).save(picture)
    section = Section(
        bad, [bad], notice=bad, columns=[bad], rows=[[bad]], pictures=[Picture(picture, bad, True)]
    )
    page = write_report(tmp_path / "page.html", bad, [section]).read_text("utf-8")
    outside = Outside()
    outside.feed(page)
    assert "script" not in outside.tags
    assert page.count("&lt;script&gt;") == 9
    assert 'width="14"' in page
    config = study({"real/seed_0": result(BASE), "real+adain/seed_0": result(BASE)})
    named = replace(config, name="<i>study&")
    run_folder(config).rename(run_folder(named))
    assert "<h1>Study &lt;i&gt;study&amp;</h1>" in report_of(named)[0]


def test_what_is_empty_is_left_out(tmp_path: Path) -> None:
    page = write_report(tmp_path / "page.html", "Title", [Section("", ["text"])]).read_text("utf-8")
    body = page.split("</style>")[1]
    assert "<p>text</p>" in body
    assert not [tag for tag in ("<h2", "<table", "<figure", "notice") if tag in body]


# Pictures -----------------------------------------------------------------------------------------


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, instead of files."""
    drawn: list[Figure] = []

    def noted(figure: Figure, path: Path) -> None:
        drawn.append(figure)
        plt.close(figure)

    monkeypatch.setattr(plots, "save", noted)
    return drawn


def bars(axis: Any) -> list[float]:
    return [patch.get_height() for patch in axis.patches]


def names(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_xticklabels()]


def test_the_hardest_characters_come_first_a_row_per_arm(figures: list[Figure]) -> None:
    plots.per_character_bars(
        {
            "real/seed_0": result(BASE, {"木": 0.9, "林": 0.4, "休": 0.6}),
            "real/seed_1": result(BASE, {"木": 0.7, "林": 0.0, "休": 0.6}),
            "real+adain/seed_0": result(BASE, {"木": 1.0, "林": 0.3, "休": 0.5}),
        },
        Path("unused"),
    )
    real, generated = figures[0].axes
    assert names(generated) == ["林", "休", "木"]
    assert bars(real) == pytest.approx([0.2, 0.6, 0.8])  # the mean of its seeds
    assert bars(generated) == pytest.approx([0.3, 0.5, 1.0])
    assert [axis.get_title(loc="left") for axis in figures[0].axes] == ["real", "real+adain"]


def test_winners_and_losers_are_drawn_when_not_all_fit(figures: list[Figure]) -> None:
    gains = {chr(0x4E00 + i): i / 100 - 1 for i in range(200)}
    plots.gains_and_losses(gains, "title", Path("unused"))
    order = sorted(gains, key=lambda c: -gains[c])
    axis = figures[0].axes[0]
    assert names(axis) == order[:30] + order[-30:]
    assert bars(axis) == pytest.approx([gains[c] for c in names(axis)])
    colors = [patch.get_facecolor() for patch in axis.patches]
    assert len(set(colors[:30])) == len(set(colors[30:])) == 1
    assert colors[0] != colors[-1]


def test_controls_have_a_color_of_their_own(figures: list[Figure]) -> None:
    arms = {
        name: {"accuracy": value, "interval": (value - 0.1, value + 0.2)}
        for name, value in (("real+adain", 0.7), ("real", 0.4), ("real+fonts", 0.8))
    }
    plots.arm_intervals(arms, ["real", "real+fonts"], Path("unused"))
    axis = figures[0].axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "real", "real+adain", "real+fonts",
    ]  # fmt: skip
    lines, points = axis.lines[::2], axis.lines[1::2]
    ends = np.array([line.get_xdata() for line in lines], float)
    np.testing.assert_allclose(ends, np.array([(0.3, 0.6), (0.6, 0.9), (0.7, 1.0)]))
    colors = [point.get_color() for point in points]
    assert colors[0] == colors[2] != colors[1]


def test_an_arm_without_an_interval_is_a_point(figures: list[Figure]) -> None:
    arms = {"real": {"accuracy": 0.5, "interval": None}}
    plots.arm_intervals(arms, ["real"], Path("unused"))
    (point,) = figures[0].axes[0].lines
    assert list(point.get_xdata()) == [0.5]  # type: ignore[arg-type]


def test_pictures_are_png_and_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gains.png"
    plots.gains_and_losses({"木": 0.5, "林": -0.5}, "a → b", path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 5
    assert list(path.parent.iterdir()) == [path]
    assert plt.get_fignums() == []


def test_a_picture_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "arms.png"
    path.write_bytes(b"old")

    def full(figure: Figure, file: Path, **options: Any) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(InputError, match=r"cannot write .*arms.png: No space left on device"):
        plots.arm_intervals({"real": {"accuracy": 0.5, "interval": (0.4, 0.6)}}, [], path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert plt.get_fignums() == []


def test_a_generator_that_no_arm_sees_costs_and_gains_nothing(tmp_path: Path) -> None:
    write_json(tmp_path / "generated" / "vae" / "metrics.json", {"images_per_s": 7.0})
    found = cost_and_gain("vae", tmp_path, {"vae": 3.0, "dcgan": 5.0}, [], {})
    assert found == {"images_per_s": 7.0, "training_s": 3.0}
