"""Generate images with a trained class-conditional VAE's decoder: PNG files and a manifest.

    python training_vae/generate_images.py
    python training_vae/generate_images.py gen_weight=PATH generation.characters=アイウ

Every image has its own latent variables, drawn from the prior and determined by the seed, the
character and the image's number alone, and imitates no particular writer. Writes canonical images,
``manifest.json`` with ``writers.json``, and a sheet to ``runs/<name>/generated/vae/``.
"""

from handwriting.script import run_script

# isort: split

from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.generation import generate_from_noise
from training_vae.model import Vae


def main(config: Config) -> Path:
    return generate_from_noise(config, "vae", Vae, "num_latents", Vae.decode)


if __name__ == "__main__":
    run_script(main, reads=["gen_weight", "generation"], folder_keys=["generation.output"])
