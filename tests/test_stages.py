"""Every stage that trains: what it does when stopped, and what its weights say."""

from pathlib import Path
from types import ModuleType

import pytest
from conftest import ComposeSmoke, Interrupt, begun, encoders

import training_cdiffusion_model.train as cdiffusion
import training_character_classification.train as classifier
import training_dcgan.train as dcgan
import training_stroke_reader.train as stroke_reader
import training_stroke_reader.train_judge as stroke_judge
import training_style_transfer.train as style_transfer
import training_vae.train as vae
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.corpus import open_corpus
from handwriting.runs.weights import load_weights
from training_clip import train_clip, train_image_encoder, train_text_encoder

MODES = ("adain", "adain_mlp", "adain_clip")
STAGES: dict[str, tuple[ModuleType, int]] = {  # its script and steps in the smoke study
    "image_encoder": (train_image_encoder, 20),
    "text_encoder": (train_text_encoder, 20),
    "clip": (train_clip, 10),
    "style_transfer/adain_mlp/step1": (style_transfer, 5),
    "dcgan": (dcgan, 10),
    "vae": (vae, 10),
    "cdiffusion": (cdiffusion, 10),
    "stroke_reader": (stroke_reader, 10),
    "stroke_judge": (stroke_judge, 10),
    "classifier/real+classical/seed_0": (classifier, 10),
}


@pytest.mark.parametrize(("method", "call"), [("log", 3), ("finish", 1)])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stopped_training_resumes_to_the_same_files(
    stage: str, method: str, call: int, trained: Path, smoke: ComposeSmoke, tmp_path: Path,
    interrupt: Interrupt,
) -> None:  # fmt: skip
    script, num_steps = STAGES[stage]
    overrides = [*encoders(trained), "runtime.checkpoint_every_s=0", "model_mode=adain_mlp",
                 "step_type=step1"]  # fmt: skip
    whole = script.main(smoke(*overrides, runs_dir=tmp_path / "whole"))
    config = smoke(*overrides, runs_dir=tmp_path / "stopped")
    calls = interrupt(method, call)
    with pytest.raises(KeyboardInterrupt):
        script.main(config)
    resumed = script.main(config)
    assert len(calls) == (num_steps + 1 if method == "log" else 2)  # no step is taken twice
    files = [path.relative_to(whole) for path in whole.rglob("*") if path.suffix != ".json"]
    made = [path for path in files if path.suffix in (".safetensors", ".png", ".gif")]
    assert {path.suffix for path in made} >= {".safetensors"}
    for path in [*made, Path("metrics.jsonl")]:
        assert (resumed / path).read_bytes() == (whole / path).read_bytes(), path
    with begun() as stages:
        assert script.main(config) == resumed
    assert stages == []  # it is done


def test_generators_say_what_they_can_draw_and_whose_hands_they_saw(smoke: ComposeSmoke) -> None:
    overrides = ["step_type=step1", "data.num_simulated_writers=2", "data.unseen_characters=1"]
    config = smoke(*overrides)
    corpus = open_corpus(config)
    for stage in (train_image_encoder, train_text_encoder, train_clip):
        stage.main(config)
    trainings = [
        *((style_transfer, "generator", f"model_mode={mode}") for mode in MODES),
        (dcgan, "dcgan", "dcgan.class_conditional=true"),
        (vae, "vae", "vae.class_conditional=true"),
        (cdiffusion, "cdiffusion", "cdiffusion.condition=character"),
        (cdiffusion, "cdiffusion", "cdiffusion.condition=text"),
    ]
    by_text = {"model_mode=adain", "model_mode=adain_clip", "cdiffusion.condition=text"}
    for script, kind, override in trainings:
        facts = load_weights(script.main(smoke(override, *overrides)), kind).facts
        # By a number of its own a character is known only if it was seen.
        drawable = corpus.characters if override in by_text else corpus.seen
        assert tuple(facts["drawable"]) == drawable, override
        assert facts["writers_seen"] == writers_seen(*corpus.sources.values()), override
        assert facts["characters"] == list(corpus.characters)
