"""What is typed: text arrives as it is, and what is no setting is answered with the right one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from handwriting.arguments import checked, known_groups, known_keys, quote, quoted
from handwriting.config import Config
from handwriting.corpus.readers.manifest import ManifestData
from handwriting.errors import InputError
from handwriting.script import compose

KNOWN = known_keys(Config) | known_keys(ManifestData, place="data.") | known_groups()
TEXTS = [
    "/a b/(1).json", "a=b/c", "/scans, 2024/x", "it's", 'a "b"', "C:\\data\\", "#1", "山田 花子/あ",
    "[x]/y", "{z}", "1e3", "2024_11", "007", "true", "a:b", "~/x", "$HOME", "é!", "*?|", "a&b;c",
    "x\\\\'y", "100%", "日本",
]  # fmt: skip


def test_text_arrives_as_it_was_typed() -> None:
    for text in TEXTS:
        # With these, quotes by hand tell where an item of a list ends.
        in_lists = not set(text) & set("[],'\"\\")
        lists = [f"fonts.folders=[{text},/b (2)]", f"use_gen=[{text}]"] if in_lists else []
        by_hand = f"clip_weight={quote(text)}"
        config = compose(
            ["data=manifest", f"fonts.reference={text}", f"data.manifest={text}", by_hand, *lists]
        )
        assert isinstance(config.data, ManifestData)
        assert [config.fonts.reference, config.data.manifest, config.clip_weight] == [text] * 3
        if in_lists:
            assert (config.fonts.folders, config.use_gen) == ([text, "/b (2)"], [text])


@pytest.mark.parametrize(
    "override",
    ["pipeline.seeds=[0,1]", "seed=3", "style_transfer.weights={clip: 1.0}", "clip_weight=null",
     "use_gen=", "model_mode=choice(adain,adain_mlp)", "fonts.reference='a b'", "~data.people",
     "+evidence.recipes.soft={gen_ratio: 0.25}", "hydra/launcher=joblib", "seed=range(0,3)",
     "data.manifest=glob(*)", "experiment=null", "runs_dir=a\\,b", "evidence.seeds=[0],[1]",
     "+hydra.job.env_set.A=b"],
)  # fmt: skip
def test_what_is_hydra_s_own_stays_behind_its_options(override: str) -> None:
    assert checked([override, "-m"], KNOWN) == (["-m"], [override])


def test_plus_adds_to_dicts_alone() -> None:
    assert checked(["+seed=3", "++experiment=demo"], KNOWN)[1] == ["seed=3", "experiment=demo"]


def test_a_comma_is_a_sweep_s_where_there_is_one() -> None:
    assert quoted("clip_weight=/a b,/c", str, sweeps=True) == "clip_weight='/a b','/c'"
    assert quoted("clip_weight=/a b,/c", str) == "clip_weight='/a b,/c'"
    with pytest.raises(Exception, match="Ambiguous value"):
        compose(["fonts.reference=a,b"])


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("--aug", "aug=true"), ("--no-aug", "aug=false"), ("-mm AdaIN", "model_mode=adain"),
        ("-mm=AdaIN+MLP", "model_mode=adain_mlp"), ("--clip_weight x", "clip_weight=x"),
        ("--gen-weight=a(1)", "'gen_weight=a(1)'"), ("-st step1", "step_type=step1"),
        ("--num_latents 3", "vae.num_latents=3"), ("--batch_size 4", "vae.batch_size=4"),
        ("--nonsense 3", "key=value"), ("model_mod=adain", "model_mode=adain"),
        ("adain", "key=value"), ("--experimental-rerun x", "key=value"), ("-sc", "key=value"),
        ("style_transfer.dims=8", "style_transfer.dim=8"), ("vae.batchsize=4", "vae.batch_size=4"),
        ("dims=8", "vae.dim=8"), ("+clip.bogus=1", "no key clip.bogus"), ("+bogus=1", "no key"),
        ("model_mode=AdaIN", "model_mode=adain"), ("experiment=papr", "experiment=paper"),
        ("data=manifst", "data=manifest"), ("runtime.device=cdua", "runtime.device=cuda"),
        ("data=null", "expected one of etl"), ("model_mode=null", "expected one of adain"),
        ("fonts.folders=/a(1)", "'fonts.folders=[/a(1)]'"), ("seed=(1", "expected int"),
        ("fonts.folders=[/a", "expected a list"),
    ],
)  # fmt: skip
def test_what_is_no_setting_is_answered_with_the_right_one(words: str, answer: str) -> None:
    with pytest.raises(InputError) as caught:
        checked(["seed=1", *words.split(), "--aug"], KNOWN)
    line, last = str(caught.value).splitlines()[1:-1]
    assert last == "  --aug: unknown option; type aug=true"
    assert line.startswith(f"  {words}: ")
    assert answer in line.partition(": ")[2]


# Scripts ------------------------------------------------------------------------------------------


def output(*command: str | Path, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """What Python says in an environment that was made from this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip


@pytest.mark.parametrize("script", ["training_style_transfer/train.py", "evidence.py"])
def test_help_says_what_a_script_is_for_before_torch_loads(script: str) -> None:
    said = output("-X", "importtime", ROOT / script, "--help", "seed=3")
    first = (ROOT / script).read_text(encoding="utf-8").splitlines()[0].strip('"')
    assert said.stdout.startswith(first)
    assert len(re.findall(rf"^ +python {script} ", said.stdout, re.MULTILINE)) >= 3
    assert "handwriting" in said.stderr
    assert not re.search(r"\| +torch$", said.stderr, re.MULTILINE)


@pytest.mark.parametrize("script", ["speed.py", "kills.py", "soak.py", "scaling.py"])
def test_a_benchmark_has_words_of_its_own(script: str) -> None:
    said = output(ROOT / "benchmarks" / script, "--help").stdout
    assert said.startswith(f"usage: {script}")


@pytest.mark.parametrize("place", ["training_vae", "."])
def test_a_script_works_with_the_checkout_that_it_lies_in(place: str, tmp_path: Path) -> None:
    other = tmp_path / "other clone"
    for name in ("handwriting", "training_vae", "conf"):
        shutil.copytree(ROOT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    script = other / place / "script.py"
    script.write_text(
        "from handwriting.storage.places import workspace\n"
        "import training_vae, handwriting.config\n"
        "places = training_vae.__file__, handwriting.config.__file__, workspace() / 'runs'\n"
        "print(*places, sep='\\n')\n"
    )
    said = output(script, cwd=tmp_path).stdout.splitlines()
    assert len(said) == 3
    assert all(line.startswith(f"{other}/") for line in said)
