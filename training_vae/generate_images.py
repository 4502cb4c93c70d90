"""Generate images with a trained class-conditional VAE's decoder: PNG files and a manifest.

    python training_vae/generate_images.py
    python training_vae/generate_images.py gen_weight=PATH generation.characters=アイウ

Every image has latent variables of its own, from the prior, decided by the seed, the character and
the image's number alone, and nobody's hand. Writes canonical images, ``manifest.json`` with
``writers.json``, and a sheet to ``runs/<name>/generated/vae/``.
"""

from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.corpus import open_corpus
from handwriting.corpus.generation import from_noise, wanted_characters, write_generated
from handwriting.errors import InputError
from handwriting.runs.run import Run, run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights
from handwriting.script import run_script
from training_vae.model import Vae


def main(config: Config) -> Path:
    weights = load_weights(
        config.gen_weight or run_folder(config) / "vae", "vae", "training_vae/train.py"
    )
    if not weights.arguments["num_classes"]:
        raise InputError(
            f"{weights.path} is an unconditional VAE, which cannot say what its images show: "
            "train one with vae.class_conditional=true"
        )
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "generation")
    inputs = {"generator": weights.path, "corpus": corpus.key}
    run = Run(config, config.generation.output or "generated/vae", sections, inputs)
    if run.is_done:
        return run.folder
    characters = wanted_characters(config, corpus, weights)
    run.begin()
    runtime = Runtime(config.runtime)
    network = runtime.freeze(build(Vae, weights))
    make = from_noise(network.decode, weights.arguments["num_latents"], runtime)
    return write_generated(run, config, characters, corpus, make, writers_seen(weights))


if __name__ == "__main__":
    run_script(main)
