"""Image i of a generation comes from its own seed: whatever else is made, in whatever batches."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke
from torch import nn

import training_cdiffusion_model.generate_images as generate_cdiffusion
import training_dcgan.generate_images as generate_dcgan
import training_style_transfer.generate_images as generate_style_transfer
import training_vae.generate_images as generate_vae
from handwriting.corpus import generation
from handwriting.images.canonical import Uint8, canonical
from handwriting.images.manifest import read_manifest
from handwriting.runs.weights import save_weights
from training_cdiffusion_model.model import Denoiser
from training_dcgan.networks import Generator as DcganGenerator
from training_style_transfer.model import Generator as StyleGenerator
from training_vae.model import Vae


def denoiser() -> Denoiser:
    network = Denoiser("character", 6, 0, 8, [1, 2], 1)
    nn.init.normal_(network.last.weight, std=0.1)  # untrained, it is zero
    return network


def style_transfer(mode: str) -> Callable[[], nn.Module]:
    return lambda: StyleGenerator(mode, 6, 16, 8, [1, 2], 1, 2, False)


GENERATORS: dict[str, tuple[ModuleType, str, Callable[[], nn.Module]]] = {
    "adain": (generate_style_transfer, "generator", style_transfer("adain")),
    "adain_mlp": (generate_style_transfer, "generator", style_transfer("adain_mlp")),
    "adain_clip": (generate_style_transfer, "generator", style_transfer("adain_clip")),
    "cdiffusion": (generate_cdiffusion, "cdiffusion", denoiser),
    "dcgan": (generate_dcgan, "dcgan", lambda: DcganGenerator(16, 10, 6, 8)),
    "vae": (generate_vae, "vae", lambda: Vae(16, 5, 6, 8, 0.1)),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_an_image_comes_from_its_own_seed_in_any_batch(
    name: str, smoke: ComposeSmoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, kind, untrained = GENERATORS[name]
    torch.manual_seed(0)
    network: Any = untrained()
    facts = {"characters": list(SMOKE), "drawable": list(SMOKE), "size_px": 16,
             "num_style_images": 2, "writers_seen": []}  # fmt: skip
    state = network.state_dict()
    weights = save_weights(tmp_path / f"{kind}.safetensors", kind, network.arguments, facts, state)
    drawn: list[Uint8] = []

    def noted(image: Uint8, size_px: int) -> Uint8:
        """The network's own output, before levels are stretched and rounded once more."""
        drawn.append(image)
        whole = np.zeros((size_px, size_px), np.uint8)
        whole[4:12, 4:12] = 255
        return canonical(whole, size_px)

    monkeypatch.setattr(generation, "canonical", noted)

    def made(size: int, *more: str) -> dict[str, Uint8]:
        drawn.clear()
        mode = f"model_mode={name}" if kind == "generator" else "model_mode=adain"
        config = smoke(f"gen_weight={weights}", mode, f"generation.batch_size={size}", *more,
                       runs_dir=tmp_path / f"{size}{len(more)}")  # fmt: skip
        manifest = read_manifest(stage.main(config) / "manifest.json")
        names = [e.path.relative_to(manifest.path.parent).as_posix() for e in manifest.entries]
        return dict(zip(names, drawn, strict=True))

    alone = made(1)
    assert len(alone) == 24
    assert len({image.tobytes() for image in alone.values()}) > 20  # few hands are drawn twice
    for others in (made(3), made(64), made(3, "generation.characters=休木"),
                   made(64, "generation.num_per_character=1")):  # fmt: skip
        assert others.keys() <= alone.keys()
        for file, image in others.items():
            # Sums are taken in another order: one grey level of 255 at the most.
            assert np.abs(image.astype(int) - alone[file]).max() <= 1, file
