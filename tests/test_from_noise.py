"""Generators that know classes but no hands, the DCGAN and the VAE: what they write."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke
from torch import nn

import training_dcgan.generate_images
import training_dcgan.train
import training_vae.generate_images
import training_vae.train
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical
from handwriting.images.manifest import UNKNOWN_WRITER, read_manifest
from handwriting.images.reading import read_grey
from handwriting.runs.weights import save_weights
from handwriting.storage.json_files import read_json
from training_dcgan.networks import Generator
from training_vae.model import Vae


@dataclass(frozen=True)
class Kind:
    """One such generator.

    Attributes:
        name: of its section, folder and weights.
        train, generate: its scripts.
    """

    name: str
    train: ModuleType
    generate: ModuleType

    def untrained(self) -> nn.Module:
        """A network of the smoke study's characters, its batch norms settled."""
        if self.name == "vae":
            torch.manual_seed(0)
            return Vae(16, 5, len(SMOKE), 8, 0.1)
        torch.manual_seed(3)
        generator = Generator(16, 10, len(SMOKE), 8)
        for _ in range(20):
            generator(torch.randn(60, 10), torch.arange(60) % len(SMOKE))
        return generator


DCGAN = Kind("dcgan", training_dcgan.train, training_dcgan.generate_images)
VAE = Kind("vae", training_vae.train, training_vae.generate_images)


@pytest.fixture(params=[DCGAN, VAE], ids=lambda kind: str(kind.name))
def kind(request: pytest.FixtureRequest) -> Kind:
    found = request.param
    assert isinstance(found, Kind)
    return found


@pytest.fixture
def weights(kind: Kind, tmp_path: Path) -> Path:
    network = kind.untrained()
    characters = list(SMOKE)
    facts = {
        "characters": characters, "drawable": characters[:5], "size_px": 16, "writers_seen": [],
    }  # fmt: skip
    path = tmp_path / f"{kind.name}.safetensors"
    return save_weights(path, kind.name, network.arguments, facts, network.state_dict())  # type: ignore[arg-type]


def test_an_image_depends_on_seed_character_and_number_alone(
    kind: Kind, smoke: ComposeSmoke, weights: Path, tmp_path: Path
) -> None:
    def made(name: str, *more: str) -> dict[str, Uint8]:
        config = smoke(
            f"gen_weight={weights}", "generation.characters=木シ", *more, runs_dir=tmp_path / name
        )
        folder = kind.generate.main(config)
        manifest = read_manifest(folder / "manifest.json")
        assert manifest.writers == (UNKNOWN_WRITER,)
        entries = manifest.entries
        return {e.path.relative_to(folder).as_posix(): 255 - read_grey(e.path) for e in entries}

    many = made("many")
    few = made("few", "generation.num_per_character=2", "generation.batch_size=3")
    other = made("other", "seed=1", "data.split_seed=0")
    assert len(few) == 4
    for name, image in few.items():
        np.testing.assert_array_equal(image, canonical(image, 16))
        # Another batch size may round the last bit differently.
        assert np.abs(image.astype(int) - many[name]).mean() < 2
        assert not np.array_equal(image, other[name])
    assert len({image.tobytes() for image in many.values()}) == len(many)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"休 \(U\+4F11\): unknown to the generator"),
        (["generation.characters=木明"], r"明 \(U\+660E\): unknown to the generator"),
        (["data.characters=あシツ木林明"], "trained on .*other characters"),
        (["gen_weight=nowhere"], "no {name} weights at nowhere: run training_{name}/train.py"),
    ],
)
def test_what_cannot_be_generated_is_named(
    overrides: list[str], message: str, kind: Kind, smoke: ComposeSmoke, weights: Path
) -> None:
    with pytest.raises(InputError, match=message.replace("{name}", kind.name)):
        kind.generate.main(smoke(f"gen_weight={weights}", *overrides))


def test_an_unconditional_one_says_why_it_cannot_make_a_manifest(
    kind: Kind, smoke: ComposeSmoke
) -> None:
    unconditional = f"{kind.name}.class_conditional=false"
    kind.train.main(smoke(unconditional, f"{kind.name}.num_steps=1"))
    advice = rf"unconditional.*{kind.name}\.class_conditional=true"
    with pytest.raises(InputError, match=advice):
        kind.generate.main(smoke(unconditional))


def test_what_was_trained_is_what_is_generated_from(kind: Kind, smoke: ComposeSmoke) -> None:
    config = smoke("data.num_simulated_writers=2")
    kind.train.main(config)
    folder = kind.generate.main(config)
    counts = [e.character for e in read_manifest(folder / "manifest.json").entries]
    assert counts == [c for c in SMOKE for _ in range(4)]
    everyone = writers_seen(*open_corpus(config).sources.values())
    assert {name.partition(":")[0] for name in everyone} >= {"simulated_0000", "font", "simulated"}
    assert read_json(folder / "facts.json") == {"writers_seen": everyone}
