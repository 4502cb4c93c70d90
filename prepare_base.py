"""Train the shipped base, from which ``weights=base`` starts.

    python prepare_base.py experiment=base

Trains the encoders, CLIP and the ``adain_clip`` mode of style transfer, and writes the weights that
fit any characters to ``runs/<name>/base/``, in float16: ``handwriting/weights/`` holds these files.
Their metadata state whose hands and which characters they have seen.
"""

from handwriting.script import run_script

# isort: split

from dataclasses import replace
from pathlib import Path

from handwriting.config import Config, ModelMode, StepType
from handwriting.errors import InputError
from handwriting.parallel.ranks import main_only
from handwriting.runs.folder import run_folder
from handwriting.runs.weights import (
    KANJIVG_AND_FONTS,
    OF_CLASSES,
    half,
    load_weights,
    save_weights,
)
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_style_transfer import train as train_style_transfer


def main(config: Config) -> Path:
    if config.weights:
        raise InputError("weights=base is what this trains, from nothing: leave it out")
    config = replace(config, model_mode=ModelMode.adain_clip, step_type=StepType.all)
    encoder = train_image_encoder.main(config)
    train_text_encoder.main(config)
    clip = train_clip.main(config)
    style_transfer = train_style_transfer.main(config)
    made_in = {
        "image_encoder": encoder, "clip": clip,
        "generator": style_transfer, "discriminator": style_transfer,
    }  # fmt: skip
    folder = run_folder(config) / "base"
    for kind, run in made_in.items():
        path = export(kind, run, folder)
        print(f"  {path.name}: {path.stat().st_size / 1e6:.2f} MB", flush=True)
    print(folder)
    return folder


@main_only
def export(kind: str, run: Path, folder: Path) -> Path:
    """Write what of a run's weights fits any characters, in float16."""
    weights = load_weights(run, kind)
    own = {name: v for name, v in weights.state.items() if not name.startswith(OF_CLASSES)}
    facts = {**weights.facts, **KANJIVG_AND_FONTS, "fits_any": True}
    path = folder / f"{kind}.safetensors"
    return save_weights(path, kind, weights.arguments, facts, half(own))


if __name__ == "__main__":
    run_script(
        main, reads=["image_encoder", "text_encoder", "clip", "style_transfer", "structure", "aug"]
    )
