"""Generate images with a trained class-conditional VAE's decoder: PNG files and a manifest.

    python training_vae/generate_images.py
    python training_vae/generate_images.py gen_weight=PATH generation.characters=アイウ

Every image has latent variables of its own, from the prior, decided by the seed, the character and
the image's number alone, and nobody's hand. Writes canonical images, ``manifest.json`` with
``writers.json``, and a sheet to ``runs/<name>/generated/vae/``.
"""

from pathlib import Path

import numpy as np
import torch

from handwriting.augment import to_uint8
from handwriting.config import Config, run_script
from handwriting.corpus import open_corpus
from handwriting.errors import InputError, report_problems
from handwriting.generation import Made, Wanted, noise, wanted_characters, write_generated
from handwriting.manifest import UNKNOWN_WRITER
from handwriting.run import Run, load_weights, run_folder
from handwriting.runtime import Runtime
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
    report_problems(
        "generation.characters",
        [f"{c}: kept unseen" for c in characters if c not in weights.facts["characters_seen"]],
        "It draws only what it was trained on: name others, or train with data.unseen_characters=0",
    )
    run.begin()
    runtime = Runtime(config.runtime)
    network = Vae(**weights.arguments)
    network.load_state_dict(weights.state)
    runtime.freeze(network)

    @torch.no_grad()
    def make(wanted: list[Wanted]) -> Made:
        labels = torch.tensor([one.label for one in wanted], device=runtime.device)
        latents = noise(wanted, weights.arguments["num_latents"]).to(runtime.device)
        with runtime.autocast():
            images = network.decode(latents, labels)
        return Made(np.asarray(to_uint8(images).cpu()), [UNKNOWN_WRITER] * len(wanted))

    return write_generated(run, config, characters, corpus, make)


if __name__ == "__main__":
    run_script(main)
