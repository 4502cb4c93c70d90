"""Weight files: what a stage passes to the next, and what third parties may supply.

A safetensors file holds a network's weights and, as JSON in its metadata, the kind of network, the
arguments of its constructor and the facts that later stages need. It cannot hold code.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from handwriting.errors import InputError, abridged
from handwriting.parallel.ranks import main_only
from handwriting.storage.atomic import write_bytes
from handwriting.storage.json_files import plain
from handwriting.storage.places import WEIGHTS_DIR

OF_CLASSES = ("head.", "class_embedding.")  # parts of networks that belong to their classes
# Among the facts of weights that were learnt from KanjiVG's drawings.
KANJIVG = {
    "licence": "CC BY-SA 3.0",
    "credit": "learnt from drawings of KanjiVG (c) Ulrich Apel",
}
KANJIVG_AND_FONTS = {
    **KANJIVG, "credit": f"{KANJIVG['credit']}, and from renders of Noto and IPAex fonts",
}  # fmt: skip
METADATA = "handwriting"  # one entry of JSON: the library writes several in random order
STEPS = ".steps"  # suffix of a name: the quantisation step of int8 weights, for each row
TRAINED_IN = {  # kind of weights -> the script, where it is not training_<kind>/train
    "image_encoder": "training_clip/train_image_encoder",
    "text_encoder": "training_clip/train_text_encoder",
    "clip": "training_clip/train_clip",
    "generator": "training_style_transfer/train",
    "discriminator": "training_style_transfer/train",
    "cdiffusion": "training_cdiffusion_model/train",
    "classifier": "training_character_classification/train",
    "stroke_judge": "training_stroke_reader/train_judge",
}
Network = TypeVar("Network", bound=nn.Module)


class Facts(dict[str, Any]):
    """The facts of a file by name; a missing one is an error that names the file."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise InputError(f"{self._path}: {name} is missing; re-run the stage that writes it")


@dataclass(frozen=True)
class Weights:
    """A trained network as its file describes it.

    Attributes:
        kind: which stage made it.
        arguments: of the network's constructor.
        facts: what later stages need: characters, vocabulary, model mode, writers seen.
    """

    path: Path
    kind: str
    arguments: dict[str, Any]
    facts: dict[str, Any]
    state: dict[str, Tensor]

    @property
    def fits_any(self) -> bool:
        """Whether they are for any characters: they lack the parts that belong to classes."""
        return bool(self.facts.get("fits_any"))

    def require_characters(self, characters: Sequence[str]) -> None:
        """Check that the network knows the study's classes, in this order, or is for any.

        Raises:
            InputError: it was trained on other characters.
        """
        own = self.facts["characters"]
        if own != list(characters) and not self.fits_any:
            theirs, ours = (
                f"{len(every)}: {abridged(''.join(every), 10)}" for every in (own, characters)
            )
            raise InputError(
                f"{self.path} was trained on other characters ({theirs}) than those of this study "
                f"({ours}): use {self.kind} weights of a run with the same characters"
            )

    def require_size(self, size_px: int) -> None:
        """Check that the network was trained on images of the study's size.

        Raises:
            InputError: it was trained at another size, which it would confuse with this one.
        """
        arguments = self.arguments
        parts = (self.facts, arguments, arguments.get("image", {}))  # CLIP's image tower
        own = next((part["size_px"] for part in parts if "size_px" in part), None)
        if own is None:
            own = self.facts["size_px"]
        if own != size_px:
            raise InputError(
                f"{self.path} was trained on images of {own} px, this run has size_px={size_px}: "
                f"set size_px={own}, or use {self.kind} weights of a run with size_px={size_px}"
            )

    def start(self, network: nn.Module, characters: Sequence[str]) -> None:
        """Initialise a network for some characters from these weights.

        Raises:
            InputError: they are of another network, or of other characters.
        """
        self.require_characters(characters)
        arguments: dict[str, Any] = network.arguments  # type: ignore[assignment]
        for name, value in arguments.items():
            if name == "num_classes" and self.fits_any:
                continue
            if self.arguments.get(name) != value:
                raise InputError(
                    f"{self.path} was trained with {name}={self.arguments.get(name)}, this run has "
                    f"{name}={value}: use weights of a run with the same {name}"
                )
        self.load_into(network)

    def load_into(self, network: nn.Module) -> None:
        """Load these weights into a network.

        If they are for any characters, the network keeps its own parts that belong to classes, and
        the rows of tokens that the weights do not have.

        Raises:
            InputError: they are of another network.
        """
        state = dict(self.state)
        if self.fits_any:
            for name, own in network.state_dict().items():
                if name.startswith(OF_CLASSES):
                    state[name] = own
                elif name in state and own.dim() and len(own) > len(state[name]):
                    state[name] = torch.cat([state[name], own[len(state[name]) :]])
        try:
            network.load_state_dict(state)
        except RuntimeError as error:  # it names what is missing, unexpected or of another shape
            raise InputError(
                f"{self.path} does not fit this {type(network).__name__}: use {self.kind} weights "
                f"of a run with the same settings. {str(error)[:500]}"
            ) from error


@main_only
def save_weights(
    path: Path, kind: str, arguments: Mapping[str, Any], facts: Mapping[str, Any],
    state: Mapping[str, Tensor],
) -> Path:  # fmt: skip
    """Write weights with everything needed to rebuild the network; no code is stored."""
    description = {"kind": kind, "arguments": plain(arguments), "facts": plain(facts)}
    # Copies: the library refuses tensors that share their memory.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    # The library's own file writer panics on a full disk.
    write_bytes(path, safetensors.torch.save(tensors, {METADATA: json.dumps(description)}))
    return path


def half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16; counters stay."""
    return {name: v.half() if v.is_floating_point() else v for name, v in state.items()}


def in_bytes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in int8, with a quantisation step for each row; tensors without rows are in float16.

    A row belongs to an output; its largest weight is 127 steps.
    """
    small = half(state)
    for name, values in state.items():
        if values.is_floating_point() and values.dim() > 1:
            rows = values.float().flatten(1)
            steps = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-30) / 127
            small[name] = (rows / steps).round().to(torch.int8).view_as(values)
            small[name + STEPS] = steps
    return small


def in_floats(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in a file, with int8 ones multiplied by their quantisation steps."""
    whole = {name: values for name, values in state.items() if not name.endswith(STEPS)}
    for name in state.keys() - whole.keys():
        own = name.removesuffix(STEPS)
        whole[own] = (state[own].flatten(1) * state[name]).view_as(state[own])
    return whole


def trained_by(kind: str) -> str:
    """The script that trains the weights of a kind."""
    return f"{TRAINED_IN.get(kind, f'training_{kind}/train')}.py"


def load_weights(
    path: str | Path, kind: str, size_px: int | None = None, made_by: str = ""
) -> Weights:
    """Read weights.

    Args:
        path: the file, or the run folder that holds ``<kind>.safetensors``.
        size_px: of the study's images; None: it is not checked.
        made_by: the command that makes them, for errors, if it is more than the script.

    Raises:
        InputError: missing, not a weight file of this project, or of another kind or image size.
    """
    path, made_by = Path(path), made_by or trained_by(kind)
    if path.is_dir():
        path = path / f"{kind}.safetensors"
    if not path.is_file():
        raise InputError(f"no {kind} weights at {path}: run {made_by} first, or give their path")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            description = json.loads(file.metadata()[METADATA])
            state = in_floats({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        arguments, facts = description["arguments"], Facts(path, description["facts"])
        found = description["kind"]
    except (
        SafetensorError, OSError, TypeError, LookupError, ValueError, RuntimeError,
    ) as error:  # fmt: skip
        raise InputError(
            f"{path} is damaged or not a weight file of this version ({error!r}): run {made_by}"
        ) from error
    if found != kind:
        raise InputError(f"{path} holds {found} weights, expected {kind} ({made_by})")
    weights = Weights(path, kind, arguments, facts, state)
    if size_px is not None:
        weights.require_size(size_px)
    return weights


def shipped(kind: str) -> Path:
    """The weights of a kind that come with the project."""
    return WEIGHTS_DIR / f"{kind}.safetensors"


def base_weights(kind: str) -> Weights:
    """The weights of ``weights=base``, for any characters."""
    return load_weights(shipped(kind), kind)


def build(network_class: Callable[..., Network], weights: Weights, **own: Any) -> Network:
    """Build the network of a weight file, and load the weights into it.

    Args:
        own: constructor arguments that replace the file's, such as the number of classes.

    Raises:
        InputError: the network does not accept the arguments, or the weights do not fit it.
    """
    try:
        network = network_class(**{**weights.arguments, **own})
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        name = getattr(network_class, "__name__", "network")
        raise InputError(
            f"{weights.path}: cannot build {name} from its arguments ({error}): use "
            f"{weights.kind} weights of a run of this version"
        ) from error
    weights.load_into(network)
    return network
