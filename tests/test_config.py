"""The configuration: every file composes, every key is read, what is wrong is named."""

import ast
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from conftest import ROOT
from hydra.errors import HydraException
from omegaconf import OmegaConf
from PIL import Image

from handwriting import overrides, script
from handwriting.config import Config, ModelMode, StepType
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.ranges import Within, comment_of, problems
from handwriting.runs.weights import load_weights, save_weights
from handwriting.script import compose, typed
from handwriting.sources.fonts import find_fonts
from handwriting.storage.places import CONFIG_DIR
from training_character_classification.arms import Arm

FILES = sorted(path.relative_to(CONFIG_DIR) for path in CONFIG_DIR.rglob("*.yaml"))
READERS = ("simulated", "manifest", "handwritten_fonts", "etl_paper")  # a choice of each
WRONG = [
    ("model_mod=adain", "model_mod"),
    ("style_transfer.dims=8", "dims"),
    ("seed=one", "one"),
    ("size_px=32.5", "32.5"),
    ("fonts.system=perhaps", "perhaps"),
    ("style_transfer.betas=0.5", "betas"),
    ("model_mode=adian", "adian"),
    ("clip.targets=similarty", "similarty"),
    ("experiment=papr", "papr"),
    ("data=simulatd", "simulatd"),
    ("data.characters=null", "characters"),
    ("runtime=tpu", "tpu"),
    ("seed=${sed}", "'sed' not found full_key: seed"),
]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_composes(file: Path) -> None:
    overrides = [] if file.parent == Path() else [f"{file.parent}={file.stem}"]
    assert isinstance(compose(overrides), Config)


# Wrong keys and values ----------------------------------------------------------------------------


def refusal(*overrides: str) -> str:
    """What composing says that refuses the overrides."""
    with pytest.raises((HydraException, InputError)) as caught:
        compose(overrides)
    return f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(("override", "named"), WRONG)
def test_what_is_wrong_is_named(override: str, named: str) -> None:
    assert named in refusal(override)


@pytest.mark.parametrize("reader", READERS)
def test_keys_of_other_readers_are_refused_by_name(reader: str) -> None:
    keys = {name: {key.name for key in fields(compose([f"data={name}"]).data)} for name in READERS}
    foreign = set().union(*keys.values()) - keys[reader]
    assert len(foreign) >= 4
    for key in foreign:
        assert f"data.{key}" in refusal(f"data={reader}", f"data.{key}=null")


def test_missing_values_are_all_named() -> None:
    composed = OmegaConf.structured(Config)
    composed.seed = 3
    with pytest.raises(InputError, match="no value for .*name.*size_px") as caught:
        typed(composed)
    assert "seed" not in str(caught.value).split(",")


# Ranges -------------------------------------------------------------------------------------------


def numbers(kind: Any, key: str, meaning: str = "") -> Iterator[tuple[str, Any, str]]:
    """Every number of a schema: its key, its type with its range, and its meaning."""
    if kind in (int, float) or getattr(kind, "__origin__", None) in (int, float):
        yield key, kind, meaning
    elif isinstance(kind, type) and is_dataclass(kind):
        for name, own in get_type_hints(kind, include_extras=True).items():
            yield from numbers(own, f"{key}.{name}".lstrip("."), comment_of(kind, name))
    else:
        for part in get_args(kind):
            yield from numbers(part, key, meaning)


NUMBERS = {
    key: (kind, meaning)
    for data in (Config, *(type(compose([f"data={reader}"]).data) for reader in READERS))
    for key, kind, meaning in numbers(data, "" if data is Config else "data")
}


@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_has_a_range_and_a_meaning(key: str) -> None:
    kind, meaning = NUMBERS[key]
    number, within = get_args(kind)
    assert isinstance(within, Within)
    assert meaning
    for end in {within.low, within.high} - {within.but_not}:
        assert list(problems(number(end), kind, key)) == []
    step = 1 if number is int else 1e-6
    outside = {within.low - step, within.high + step, within.but_not, *map(float, ("nan", "inf"))}
    for value in outside - {None}:
        expected = f"{key}={value}: expected {within} ({meaning})"
        assert list(problems(value, kind, key, lambda: meaning)) == [expected]


@pytest.mark.parametrize(
    "override",
    ["data.validation_writers=-1", "image_encoder.num_steps=-5", "dcgan.batch_size=6",
     "vae.dropout=2", "vae.dropout=1", "data.people=-1", "size_px=7", "generation.num_hands=0",
     "dcgan.betas=[]", "style_transfer.betas=[0.5,1.0]", "runtime.num_threads=1000000",
     "pipeline.num_workers=0", "pipeline.seeds=[]", "pipeline.seeds=[3,3]", "evidence.people=[0]",
     "style_transfer.dim_mults=[]", "style_transfer.dim_mults=[1,0]", "gen_ratio=nan",
     "style_transfer.weights.clip=-1", "++style_transfer.weights.clop=1", "vae.dim=12",
     "style_transfer.num_steps.step1=0", "vae.shares={writers:0,fonts:0,simulated:0}",
     "runtime.precision=fp16", "runtime.device=tpu", "tracking=wandb", "classifier.splits=[tset]",
     "classifier.splits=[]", "generation.styles=[fronts]", "text_encoder.learning_rate=inf",
     "data.num_writers=0", "evidence.adaptation.num_steps=0", "text_encoder.heads=3",
     "name=../x", "name=/x", "name=", "name=a/../b", "classifier.name=..",
     "style_transfer.dim=12", "style_transfer.discriminator_dim=6", "cdiffusion.dim=12"],
)  # fmt: skip
def test_a_value_out_of_range_is_named_with_its_range(override: str) -> None:
    key = override.lstrip("+").partition("=")[0]
    found = refusal("experiment=evidence", override)
    assert f": 1 problem(s)\n  {key.rpartition('.')[0]}" in found
    assert ": expected " in found


def test_all_values_out_of_range_are_listed_at_once() -> None:
    overrides = ("size_px=7", "data.people=-1", "clip.num_steps=-5", "pipeline.seeds=[]")
    found = refusal(*overrides)
    assert "settings: 4 problem(s)" in found
    for override in overrides:
        assert f"  {override}: expected" in found


# Keys that nothing reads --------------------------------------------------------------------------


def keys(shape: type, *owners: str, place: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every key of a schema, with the words by which code gets hold of what it belongs to."""
    words = {*owners, *(base.__name__ for base in shape.__mro__ if is_dataclass(base))}
    for name, kind in get_type_hints(shape).items():
        yield f"{place}{name}", words
        if is_dataclass(kind):
            assert isinstance(kind, type)
            yield from keys(kind, name, place=f"{place}{name}.")


def unread(shape: type, *owners: str, place: str = "") -> set[str]:
    """The keys that no module reads which also names their section or its class."""
    left = dict(keys(shape, *owners, place=place))
    product = [p for p in ROOT.rglob("*.py") if p.parent.name not in ("tests", "benchmarks")]
    for path in product:
        if ".venv" in path.parts or path == ROOT / "handwriting" / "config.py":
            continue
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        read = {n.attr for n in nodes if isinstance(n, ast.Attribute)}
        words = read | {n.id for n in nodes if isinstance(n, ast.Name)} | {*path.parts}
        subscripts = [n.slice for n in nodes if isinstance(n, ast.Subscript)]
        read |= {str(n.value) for n in subscripts if isinstance(n, ast.Constant)}
        words |= {n.name for n in nodes if isinstance(n, ast.ClassDef)}
        left = {
            key: owners
            for key, owners in left.items()
            if key.rpartition(".")[2] not in read or not owners & words
        }
    return set(left)


def test_every_key_is_read_by_some_stage() -> None:
    assert unread(Config) == set()
    for reader in READERS:
        assert unread(type(compose([f"data={reader}"]).data), "data", place="data.") == set()


def test_a_key_that_nothing_reads_is_found() -> None:
    section = make_dataclass("Section", [("network", str), ("num_unread", int)])
    wider = make_dataclass(
        "Wider", [("idle", bool), ("section", section)], bases=(Config,), kw_only=True
    )
    assert unread(wider) == {"idle", "section", "section.network", "section.num_unread"}


# What arrives -------------------------------------------------------------------------------------


def test_overrides_arrive_typed() -> None:
    weights = ("image_weight", "text_weight", "clip_weight", "gen_weight", "disc_weight")
    config = compose(
        ["experiment=smoke", "model_mode=adain_mlp", "step_type=step3", "tracking=offline",
         "seed=7", "aug=false", "use_gen=[a.json,b.json]", "style_transfer.num_steps.step1=9",
         *(f"{key}=runs/x" for key in weights)]
    )  # fmt: skip
    assert (config.model_mode, config.step_type) == (ModelMode.adain_mlp, StepType.step3)
    assert (config.tracking, config.aug) == ("offline", False)
    assert config.data.split_seed == config.seed == 7
    assert config.use_gen == ["a.json", "b.json"]
    assert config.style_transfer.num_steps == {"step1": 9, "step2": 5, "step3": 5, "step_end": 5}
    assert {getattr(config, key) for key in weights} == {"runs/x"}


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
    listed = compose([f"generation.style_names=[{value},a b]"]).generation.style_names
    assert listed == [expected, "a b"]


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


@pytest.mark.parametrize(
    "value", ["${oc.env:TOKEN}", "a ${ oc.env:TOKEN,none }", "${oc.decode:${name}}"]
)
def test_a_file_does_not_read_the_environment(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hf_7Q")
    composed = OmegaConf.structured(compose(["experiment=smoke"]))
    composed.gen_weight = value
    with pytest.raises(InputError, match="reads the environment") as caught:
        typed(composed)
    assert "hf_7Q" not in str(caught.value)
    if "decode" not in value:
        assert "hf_7Q" in str(typed(composed, [f"gen_weight={value}"]).gen_weight)


TOKEN = "${oc.env:TOKEN}"


def test_what_other_files_hold_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hf_7Q")
    Image.new("L", (9, 9), 255).save(tmp_path / "a.png")
    (tmp_path / "manifest.json").write_text('{"木": ["a.png"]}')
    (tmp_path / "writers.json").write_text(json.dumps({"a.png": TOKEN}))
    assert read_manifest(tmp_path / "manifest.json").writers == (TOKEN,)
    path = save_weights(tmp_path / "a.safetensors", "a", {"name": TOKEN}, {"arm": TOKEN}, {})
    weights = load_weights(path, "a", "")
    assert (weights.arguments, weights.facts["arm"]) == ({"name": TOKEN}, TOKEN)
    (tmp_path / "fonts.txt").write_text(f"{TOKEN}.ttf\n")
    with pytest.raises(InputError) as caught:
        find_fonts([], [], str(tmp_path / "fonts.txt"))
    assert "hf_7Q" not in str(caught.value)
    assert str(Arm.parse(f"real+vae@{TOKEN}")) == f"real+vae@{TOKEN}"


# What would change nothing ------------------------------------------------------------------------


def test_the_keys_that_were_typed_are_found_in_every_spelling() -> None:
    typed_in = [
        "experiment=demo", "data=manifest", "data.people=3", "+fonts.system=true", "seed=1,2",
        "generation={output: a, styles: [b]}", "hydra.job.chdir=true",
    ]  # fmt: skip
    found = ["data.people", "fonts.system", "seed", "generation.output", "generation.styles"]
    assert overrides.typed_keys(typed_in) == found
    assert overrides.typed_keys(["what=(is no override"]) == []


def test_a_stage_says_what_it_does_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    overrides.note_unread(["vae.dim", "data.people", "dcgan.dim", "use_gen"], ["vae"])
    assert capsys.readouterr().out == "  not read by this stage: dcgan.dim, use_gen\n"
    overrides.note_unread(["vae.dim", "seed", "runtime.device"], ["vae"])
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "swept",
    ["classifier.num_steps=5,10", "seed=range(3)", "data=simulated,smoke", "clip.num_steps=1,2",
     "vae.dropout=choice(0,0.1)", "gen_weight=a,b"],
)  # fmt: skip
def test_jobs_of_a_sweep_have_folders_of_their_own(swept: str) -> None:
    key = swept.partition("=")[0]
    for flag in ("-m", "--multirun", "hydra.mode=MULTIRUN"):
        with pytest.raises(InputError, match=rf"-m {key}.*name=NAME_\$\{{{key}"):
            overrides.check_sweep([flag, "experiment=demo", swept], ["model_mode"])
    overrides.check_sweep([swept], [])
    for apart in ([swept, f"name=s_${{{key}}}"], ["name=a,b"], ["experiment=demo,smoke"],
                  ["model_mode=adain,adain_mlp,adain_clip", "step_type=all"]):  # fmt: skip
        overrides.check_sweep(["-m", *apart], ["model_mode"])
    overrides.check_sweep(["-m", swept], [key])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+data.manifest=a", r"data\.manifest: no such key \(add data=manifest\)"),
        ("++data.etl.folder=a", r"data\.etl: no such key \(add data=etl_fewshot or .*etl_paper\)"),
        ("+clip.bogus=1", r"clip\.bogus"),
        ("+bogus=1", "bogus"),
    ],
)
def test_keys_that_are_added_to_the_schema_are_refused(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose([override])


def test_a_key_of_other_data_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["script.py", "data.manifest=x", "data.people=1"])
    with pytest.raises(SystemExit):
        script.run_script(lambda config: None)
    assert "no data.manifest in the chosen data (add data=manifest)" in capfd.readouterr().err
