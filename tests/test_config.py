"""The configuration: every file composes, every key is read, what is wrong is named."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from conftest import ROOT
from hydra.errors import HydraException
from omegaconf import OmegaConf
from PIL import Image

from handwriting import overrides, script
from handwriting.config import Config, Data, ModelMode, StepType
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.ranges import Within, comment_of, problems
from handwriting.runs.weights import load_weights, save_weights
from handwriting.script import PRIMARY, compose, typed
from handwriting.sources.fonts import find_fonts
from handwriting.storage.places import CONFIG_DIR
from training_character_classification.arms import Arm

FILES = sorted(path.relative_to(CONFIG_DIR) for path in CONFIG_DIR.rglob("*.yaml"))
READERS = ("simulated", "manifest", "handwritten_fonts", "etl_paper")  # a choice of each
WRONG = [
    ("seed=one", "one"),
    ("size_px=32.5", "32.5"),
    ("fonts.system=perhaps", "perhaps"),
    ("style_transfer.betas=0.5", "betas"),
    ("clip.targets=similarty", "similarty"),
    ("data.characters=null", "characters"),
    ("seed=${sed}", "'sed' not found full_key: seed"),
]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_composes(file: Path) -> None:
    if file.parent == Path() and file.stem in PRIMARY:
        needed = {"add_characters": ["output=mine.safetensors"]}.get(file.stem, [])
        assert isinstance(compose(needed, file.stem), PRIMARY[file.stem])
    else:
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
    for data in (
        Config,
        *PRIMARY.values(),
        *(type(compose([f"data={reader}"]).data) for reader in READERS),
    )
    for key, kind, meaning in numbers(data, "data" if issubclass(data, Data) else "")
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
    "wrong",
    ["data.validation_writers=-1", "image_encoder.num_steps=-5", "dcgan.batch_size=6",
     "vae.dropout=2", "vae.dropout=1", "data.people=-1", "size_px=7", "generation.num_hands=0",
     "dcgan.betas=[]", "style_transfer.betas=[0.5,1.0]", "runtime.num_threads=1000000",
     "pipeline.num_workers=0", "pipeline.seeds=[]", "pipeline.seeds=[3,3]", "evidence.people=[0]",
     "style_transfer.dim_mults=[]", "style_transfer.dim_mults=${evidence}",
     "vae.shares=${pipeline.seeds}", "recipe=${name}", "fonts.packages=${name}",
     "style_transfer.betas=${vae}",
     "style_transfer.dim_mults=[1,0]", "gen_ratio=nan",
     "style_transfer.weights.clip=-1", "++style_transfer.weights.clop=1", "vae.dim=12",
     "style_transfer.num_steps.step1=0", "vae.shares={writers:0,fonts:0,simulated:0}",
     "runtime.precision=fp16", "runtime.device=tpu", "tracking=wandb", "classifier.splits=[tset]",
     "classifier.splits=[]", "generation.styles=[fronts]", "text_encoder.learning_rate=inf",
     "data.num_writers=0", "text_encoder.heads=3",
     "name=../x", "name=/x", "name=", "name=a/../b", "classifier.name=..",
     "style_transfer.dim=12", "style_transfer.discriminator_dim=6", "cdiffusion.dim=12",
     "size_px=7 data.people=-1 clip.num_steps=-5 pipeline.seeds=[]"],
)  # fmt: skip
def test_values_out_of_range_are_all_named_with_their_ranges(wrong: str) -> None:
    found = refusal("experiment=evidence", *wrong.split())
    assert f": {len(wrong.split())} problem(s)\n" in found
    for override in wrong.split():
        key = override.lstrip("+").partition("=")[0]
        assert re.search(rf"\n  {key.rpartition('.')[0]}.*: expected ", found)


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


def run(monkeypatch: pytest.MonkeyPatch, main: Callable[[Config], object], *words: str) -> str:
    """What a script says at its end."""
    monkeypatch.setattr("sys.argv", ["script.py", *words])
    try:
        script.run_script(main)
    except SystemExit as end:
        return str(end.code)
    return ""


def test_run_script_hands_over_the_composed_study(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Config] = []
    words = ["experiment=smoke", "data.characters=日本"]
    assert run(monkeypatch, received.append, *words) == ""
    assert received == [compose(words)]


def refuses(_: Config) -> None:
    raise InputError("the file is upside down")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=smoke"], "error: the file is upside down"),
        (["data.manifest=x"], "error: the chosen data has no key data.manifest: add data=manifest"),
        (
            ["+data.manifest=x"],
            "error: the chosen data has no key data.manifest: add data=manifest",
        ),
        (["++data.etl.folder=a"], "data.etl.folder: add data=etl_fewshot or .*data=etl_paper"),
        (["--resolve"], "in conjunction with --cfg"),
        (["experiment=[null]"], "Hydra cannot compose the configuration"),
        (["aug=3", "seed=a", "--aug"], "1 problem"),
        (["vae={nix: 3}"], "'nix' not in 'Vae'"),
    ],
)
def test_run_script_ends_with_the_message_of_an_error(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert re.search(message, run(monkeypatch, refuses, *words))
    assert "Traceback" not in "".join(capfd.readouterr())


def test_an_error_of_our_own_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, lambda config: 1 // 0)


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
    weights = load_weights(path, "a")
    assert (weights.arguments, weights.facts["arm"]) == ({"name": TOKEN}, TOKEN)
    (tmp_path / "fonts.txt").write_text(f"{TOKEN}.ttf\n")
    with pytest.raises(InputError) as caught:
        find_fonts([], [], str(tmp_path / "fonts.txt"))
    assert "hf_7Q" not in str(caught.value)
    assert str(Arm.parse(f"real+vae@{TOKEN}")) == f"real+vae@{TOKEN}"


# What would change nothing ------------------------------------------------------------------------


def test_the_keys_that_were_typed_are_found_in_every_spelling() -> None:
    typed_in = ["data.people=3", "+fonts.system=true", "seed=1,2", "vae={}",
                "generation={output: a, styles: [b]}"]  # fmt: skip
    found = ["data.people", "fonts.system", "seed", "vae", "generation.output", "generation.styles"]
    assert overrides.typed_keys(typed_in) == found


def test_a_stage_says_what_it_does_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    overrides.note_unread(["vae.dim", "data.people", "dcgan.dim", "use_gen"], ["vae"])
    assert capsys.readouterr().out == "  not read by this stage: dcgan.dim, use_gen\n"
    overrides.note_unread(["vae.dim", "seed", "runtime.device", "experiment"], ["vae"])
    assert not capsys.readouterr().out


APART = ("name=a,b", "name=a,a", "experiment=demo,smoke", "model_mode=adain,adain_mlp", "seed=1",
         "seed=0,1 runs_dir=r/${seed}", "seed=0,1 name=x_${hydra:job.num}")  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ("classifier.num_steps=5,10", "classifier.num_steps"), ("seed=range(3)", "seed"),
        ("vae.dropout=choice(0,0.1)", "vae.dropout"), ("seed=0,1 name=x_${size_px}", "seed"),
        ("data=simulated,smoke", "hydra:runtime.choices.data"),
        ("experiment=demo,smoke name=x", "hydra:runtime.choices.experiment"),
        *((apart, "") for apart in APART),
    ],
)  # fmt: skip
def test_jobs_of_a_sweep_have_folders_of_their_own(settings: str, key: str) -> None:
    words = settings.split()
    if key:
        with pytest.raises(
            InputError, match=rf"-m {re.escape(words[0])}: .*name=NAME_\${{{key}}}'"
        ):
            script.check_sweep(words, ["model_mode"])
        words.append(f"name=s_${{{key}}}")
    script.check_sweep(words, ["model_mode"])


def test_a_sweep_is_checked_before_its_first_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "私の字").mkdir()
    for flag in ("-m", "--multirun", "hydra.mode=MULTIRUN"):
        assert "into the same folder" in run(monkeypatch, refuses, "seed=1,2", flag)
        assert "7: expected" in run(monkeypatch, refuses, "name=a,b", "size_px=8,7", flag)
        folder = f"hydra.sweep.dir={tmp_path}"
        assert "expected a new folder, or" in run(monkeypatch, refuses, "seed=1", folder, flag)
    assert len([*tmp_path.iterdir()]) == 1
    for _ in range(2):
        assert not run(monkeypatch, lambda config: None, "-m", "seed=1", f"{folder}/sweep")
