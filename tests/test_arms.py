"""Arms: a name, what it stands for, and the configuration that trains it."""

from pathlib import Path

import pytest
from conftest import ComposeSmoke, smoke_overrides
from hypothesis import given, strategies as st

from generators import GENERATORS
from handwriting.config import Config, Recipe
from handwriting.errors import InputError
from handwriting.runs.folder import run_folder
from handwriting.script import compose
from training_character_classification.arms import (
    CONTROL_SOURCES,
    Arm,
    arm_config,
    arm_of,
    batch_shares,
    choose_control,
    generated_manifests,
)

SOURCES = (*CONTROL_SOURCES, *GENERATORS)
ARMS = st.builds(
    lambda chosen, is_augmented, recipe: Arm(
        tuple(source for source in SOURCES if source in chosen), is_augmented, recipe
    ),
    st.sets(st.sampled_from(SOURCES), min_size=1),
    st.booleans(),
    st.sampled_from(["", "soft"]),
)


@given(ARMS)
def test_an_arm_is_its_name(arm: Arm) -> None:
    assert Arm.parse(str(arm)) == arm
    assert str(arm).startswith(arm.sources[0])
    assert arm.is_control == (not {*arm.generators})
    assert (*(s for s in CONTROL_SOURCES if s in arm.sources), *arm.generators) == arm.sources


def test_any_other_word_is_a_generator() -> None:
    assert Arm.parse("real+simulated+my_own+classical@top").generators == ("my_own",)
    assert Arm.parse("my_own").generators == ("my_own",)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["aug=false"], "real"),
        (["aug=true", "classifier.use_fonts=true"], "real+fonts+classical"),
        (["aug=false", "use_gen=runs/x/generated/adain/manifest.json"], "real+adain"),
        (["aug=false", "classifier.use_real=false", "classifier.use_simulated=true"], "simulated"),
        (["classifier.name=mine"], "mine"),
    ],
)
def test_an_arm_is_named_after_what_it_sees(
    overrides: list[str], name: str, smoke: ComposeSmoke
) -> None:
    assert str(arm_of(smoke(*overrides))) == name


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A study whose own settings say nothing about what its arms see."""
    home = tmp_path_factory.mktemp("unused")
    recipe = "+evidence.recipes.soft={by_confusion: true, gen_ratio: 0.25}"
    return compose(smoke_overrides(home, home, "use_gen=x.json", "classifier.name=mine",
                                   "classifier.splits=[test]", recipe))  # fmt: skip


@given(arm=ARMS)
def test_an_arm_is_configured_by_its_name_alone(arm: Arm, other: Config) -> None:
    config = arm_config(other, arm)
    assert arm_of(config) == arm
    assert (config.seed, config.classifier.splits) == (other.seed, ["train"])
    assert config.gen_ratio == (0.25 if arm.recipe else other.gen_ratio)
    assert config.recipe == (Recipe(by_confusion=True) if arm.recipe else other.recipe)
    home = run_folder(other) / "generated"
    found = generated_manifests(config.use_gen)
    assert found == [home / name / "manifest.json" for name in arm.generators]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "arm '': expected one or more of real"),
        ("classical", "arm 'classical': expected"),
        ("real+font", "arm 'real.font': expected .* fonts"),
        ("real++fonts", "expected"),
        ("real+vae+vae", "each once"),
        ("real+vae@top", "no such recipe in evidence.recipes"),
        ("real+dcgan", "expected .* simulated, vae .pipeline.generators"),
        ("fonts+real", "arm 'fonts.real': expected .* in this order"),
        ("real+classical+vae", "expected"),
    ],
)
def test_a_name_that_is_no_arm_is_refused(name: str, message: str, smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match=message):
        arm_config(smoke("pipeline.generators=[vae]"), Arm.parse(name))


@pytest.mark.parametrize("folder", ["fonts", "judge", "classical", "gan+vae", "vae@soft"])
def test_a_folder_that_is_no_name_of_a_generator_is_refused(
    folder: str, smoke: ComposeSmoke
) -> None:
    config = smoke(f"use_gen='/data/{folder}/manifest.json'")
    with pytest.raises(InputError, match="would name another arm: set classifier.name"):
        arm_of(config)
    config.classifier.name = "mine"
    assert str(arm_of(config)) == "mine"


def test_a_control_may_be_named_and_must_be_one() -> None:
    names = ["real", "real+fonts+simulated+classical", "real+fonts+classical", "real+fonts+adain"]
    arms = [Arm.parse(name) for name in names]
    assert choose_control(None, arms) == arms[2]
    assert choose_control(None, [arms[0], arms[3]]) == arms[0]
    assert choose_control(None, arms[:2]) == arms[1]
    assert choose_control("real", arms) == arms[0]
    for named, among in ((names[3], arms), (None, arms[3:])):
        with pytest.raises(InputError, match="pipeline.control="):
            choose_control(named, among)


@given(st.integers(1, 300), st.floats(0, 1), st.booleans(), st.integers(1, 5))
def test_shares_fill_the_batch_and_are_equal_among_what_is_not_real(
    batch_size: int, ratio: float, first_is_real: bool, num_sources: int
) -> None:
    shares = batch_shares(batch_size, ratio, first_is_real, num_sources)
    assert len(shares) == num_sources
    assert sum(shares) == batch_size
    others = shares[first_is_real:]
    assert min(shares) >= 0
    assert not others or max(others) - min(others) <= 1
    if first_is_real and others:
        assert sum(others) == pytest.approx(batch_size * ratio, abs=0.5)


def test_use_gen_takes_nothing_one_or_several() -> None:
    assert generated_manifests("") == []
    assert generated_manifests("a.json") == [Path("a.json")]
    assert generated_manifests(["a.json", "b.json"]) == [Path("a.json"), Path("b.json")]
    for wrong in (3, None, ["a", 1], {"a": 1}):
        with pytest.raises(InputError, match="use_gen"):
            generated_manifests(wrong)
