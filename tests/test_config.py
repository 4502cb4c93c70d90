"""The configuration: every file composes, every key is known, what is wrong is named."""

from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from handwriting import script
from handwriting.config import Config, ModelMode, StepType, Tracking
from handwriting.errors import InputError
from handwriting.script import compose, typed
from handwriting.storage.places import CONFIG_DIR

GROUPS = ("data", "fonts", "runtime")
FILES = sorted(path.relative_to(CONFIG_DIR) for path in CONFIG_DIR.rglob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_composes(file: Path) -> None:
    overrides = [] if file.parent == Path() else [f"{file.parent}={file.stem}"]
    config = compose(overrides)
    assert isinstance(config, Config)


@pytest.mark.parametrize("experiment", sorted((CONFIG_DIR / "experiment").glob("*.yaml")), ids=str)
def test_an_experiment_names_its_study_and_its_command(experiment: Path) -> None:
    text = experiment.read_text(encoding="utf-8")
    assert compose([f"experiment={experiment.stem}"]).name == experiment.stem
    assert f"experiment={experiment.stem}" in text.split("\nname:")[0]


def unknown_keys(value: dict[str, Any], shape: type, place: str) -> list[str]:
    """Keys of a YAML file that no dataclass has."""
    known = get_type_hints(shape)
    found = []
    for key, item in value.items():
        if key not in known:
            found.append(f"{place}{key}")
        elif is_dataclass(known[key]) and isinstance(item, dict):
            found += unknown_keys(item, known[key], f"{place}{key}.")
    return found


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_key_of_every_file_is_known(file: Path) -> None:
    value = OmegaConf.to_container(OmegaConf.load(CONFIG_DIR / file))
    assert isinstance(value, dict)
    shape: type = Config
    if file.parts[0] == "data":
        shape = type(compose([f"data={file.stem}"]).data)
    elif file.parts[0] in GROUPS:
        shape = get_type_hints(Config)[file.parts[0]]
    own = {str(k): v for k, v in value.items() if k not in ("defaults", "hydra")}
    assert unknown_keys(own, shape, "") == []


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model_mod=adain", "model_mod"),
        ("style_transfer.dims=8", "dims"),
        ("seed=one", "one"),
        ("size_px=32.5", "32.5"),
        ("fonts.system=perhaps", "perhaps"),
        ("style_transfer.betas=0.5", "betas"),
        ("model_mode=adian", "adian"),
        ("step_type=step4", "step4"),
        ("tracking=on", "on"),
        ("clip.targets=similarty", "similarty"),
        ("style_transfer.style_character=smae", "smae"),
        ("data.manifest=x", "manifest"),
        ("data.etl.folder=x", "etl"),
        ("experiment=papr", "papr"),
        ("data=simulatd", "simulatd"),
        ("runtime=tpu", "tpu"),
    ],
)
def test_what_is_wrong_is_named(override: str, named: str) -> None:
    with pytest.raises((HydraException, InputError)) as caught:
        compose([override])
    causes = [str(caught.value), str(caught.value.__cause__)]
    assert any(named in cause for cause in causes), causes


def test_missing_values_are_all_named() -> None:
    composed = OmegaConf.structured(Config)
    composed.seed = 3
    with pytest.raises(InputError, match="no value for .*name.*size_px") as caught:
        typed(composed)
    assert "seed" not in str(caught.value).split(",")


def test_overrides_arrive_typed() -> None:
    config = compose(
        ["experiment=smoke", "model_mode=adain_mlp", "step_type=step3", "tracking=offline",
         "seed=7", "use_gen=[a.json,b.json]", "style_transfer.num_steps.step1=9"]
    )  # fmt: skip
    assert (config.model_mode, config.step_type) == (ModelMode.adain_mlp, StepType.step3)
    assert config.tracking is Tracking.offline
    assert config.data.split_seed == config.seed == 7
    assert config.use_gen == ["a.json", "b.json"]
    assert config.style_transfer.num_steps == {"step1": 9, "step2": 5, "step3": 5, "step_end": 5}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("日本", "日本"),
        ("'日本'", "日本"),
        ("/home/山田 花子/a (1).json", "/home/山田 花子/a (1).json"),
    ],
)
def test_japanese_needs_no_quotes(value: str, expected: str) -> None:
    assert compose([f"fonts.reference={value}"]).fonts.reference == expected


def test_japanese_in_a_list_needs_no_quotes() -> None:
    config = compose(["generation.style_names=[山田 花子,a b,03]"])
    assert config.generation.style_names == ["山田 花子", "a b", "03"]


def test_an_experiment_is_a_delta() -> None:
    plain, smoke = compose(), compose(["experiment=smoke"])
    assert smoke.image_encoder.learning_rate == plain.image_encoder.learning_rate
    assert smoke.size_px != plain.size_px


def test_run_script_hands_over_the_composed_study(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    received: list[Config] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["script.py", "experiment=smoke", "data.characters=日本"])
    script.run_script(received.append)
    assert received == [compose(["experiment=smoke", "data.characters=日本"])]


def test_run_script_ends_with_the_message_of_an_input_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(_: Config) -> None:
        raise InputError("the file is upside down")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["script.py", "experiment=smoke"])
    with pytest.raises(SystemExit) as caught:
        script.run_script(fails)
    assert caught.value.code == "error: the file is upside down"
