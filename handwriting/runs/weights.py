"""Weights: what a stage hands to the next, read without trusting the file.

A file holds a network's weights, the arguments of its constructor and what later stages must know
of it, and no code.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from handwriting.errors import InputError, report_problems
from handwriting.parallel.ranks import main_only
from handwriting.runs.checkpoint import read_tensors, save_tensors
from handwriting.storage.json_files import plain

FACTS: dict[str, type] = {  # what later stages read, by what it must be; lists are of words
    "characters": list, "drawable": list, "writers_seen": list, "vocabulary": list,
    "arm": str, "mode": str, "step_type": str,
    "seed": int, "size_px": int, "num_style_images": int,
}  # fmt: skip
MAX_BESIDE = 10_000_000  # elements that a network may hold beside what is stored of it
Network = TypeVar("Network", bound=nn.Module)


class Facts(dict[str, Any]):
    """What a file says by name; what is asked for and missing is named with the file."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise InputError(f"{self._path} does not say its {name}: make it again")


@dataclass(frozen=True)
class Weights:
    """A trained network as a file tells it.

    Attributes:
        path: the file.
        kind: which stage made it.
        arguments: of the network's constructor.
        facts: what a later stage must know: characters, vocabulary, model mode, writers seen.
        state: the weights.
    """

    path: Path
    kind: str
    arguments: dict[str, Any]
    facts: dict[str, Any]
    state: dict[str, Tensor]

    def require_characters(self, characters: Sequence[str]) -> None:
        """Check that the network knows the study's classes, in this order.

        Raises:
            InputError: it was trained on others, or tells apart more or fewer than it names.
        """
        own = self.facts["characters"]
        if own != list(characters):
            raise InputError(
                f"{self.path} was trained on {len(own)} other characters ({''.join(own[:10])}...) "
                f"than this study's {len(characters)} ({''.join(characters[:10])}...)"
            )
        if self.arguments.get("num_classes") not in (None, len(own)):
            raise InputError(
                f"{self.path} names {len(own)} characters for {self.arguments['num_classes']} "
                "classes: give the weights of a run"
            )

    def check(self, network: nn.Module) -> None:
        """Check that these are the weights of such a network.

        Raises:
            InputError: they are of another.
        """
        expected = network.state_dict()
        problems = [
            f"{name}: expected {_form(expected.get(name))}, found {_form(self.state.get(name))}"
            for name in {**expected, **self.state}
            if _form(expected.get(name)) != _form(self.state.get(name))
        ]
        name = type(network).__name__
        advice = f"They are of another network than this {name}: give the {self.kind} weights of "
        report_problems(str(self.path), problems, f"{advice}a run with these settings.", most=5)

    def load_into(self, network: nn.Module) -> None:
        """Give a network these weights.

        Raises:
            InputError: they are of another.
        """
        self.check(network)
        network.load_state_dict(self.state)


@main_only
def save_weights(
    path: Path, kind: str, arguments: Mapping[str, Any], facts: Mapping[str, Any],
    state: Mapping[str, Tensor],
) -> Path:  # fmt: skip
    """Write weights with what it takes to build the network again; no code is stored."""
    value = {
        "kind": kind,
        "arguments": plain(arguments),
        "facts": plain(facts),
        "state": {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()},
    }
    save_tensors(path, value)
    return path


def load_weights(path: str | Path, kind: str, made_by: str) -> Weights:
    """Read weights without running any code from the file.

    Args:
        path: the file, or the run folder that holds ``<kind>.pt``.
        kind: what it must hold.
        made_by: the command that makes such weights, for the error.

    Raises:
        InputError: missing, not a weight file, or of another kind.
    """
    path = Path(path)
    if path.is_dir():
        path = path / f"{kind}.pt"
    if not path.is_file():
        raise InputError(f"no {kind} weights at {path}: run {made_by} first, or name them")
    try:
        value = read_tensors(path)
        _check_weights(value)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a weight file of this project: {error}") from error
    arguments, facts = (Facts(path, value[name]) for name in ("arguments", "facts"))
    if value["kind"] != kind:
        raise InputError(f"{path} holds {value['kind']} weights, expected {kind} ({made_by})")
    return Weights(path, kind, arguments, facts, value["state"])


def _check_weights(value: Any) -> None:
    """Check the form of what a weight file holds.

    Raises:
        ValueError: it is another.
    """
    form = {"kind": str, "arguments": dict, "facts": dict, "state": dict}
    if not isinstance(value, dict) or value.keys() != form.keys():
        raise ValueError(f"it does not hold {', '.join(form)}")
    for name, kind in form.items():
        if not isinstance(value[name], kind):
            raise ValueError(f"{name} is a {type(value[name]).__name__}")
    for name, tensor in value["state"].items():
        if not (isinstance(name, str) and isinstance(tensor, Tensor)):
            raise ValueError(f"{name!r} of its state is no tensor with a name")
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} is not finite")
    facts = value["facts"]
    for name in FACTS.keys() & facts.keys():
        words = facts[name] if FACTS[name] is list else ()
        if type(facts[name]) is not FACTS[name] or not all(isinstance(w, str) for w in words):
            raise ValueError(f"its {name} are no {FACTS[name].__name__} as expected")
    for name in ("arguments", "facts"):
        _check_plain(value[name])


def _check_plain(value: Any) -> None:
    """Check that a value could be JSON."""
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("it has names that are no words")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_plain(item)
    elif isinstance(value, Tensor | tuple) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise ValueError(f"its arguments or facts hold a {type(value).__name__} ({value})")


def build(network_class: Callable[..., Network], weights: Weights) -> Network:
    """The network that weights are of, with these weights.

    It is first made without memory: what the file says of its sizes must fit what it holds.

    Raises:
        InputError: there is no network of such arguments, or the weights are of another.
    """
    name = getattr(network_class, "__name__", "network")
    try:
        with torch.device("meta"), _no_larger_than(weights.state):
            empty = network_class(**weights.arguments)
        held = sum(tensor.numel() for tensor in [*empty.parameters(), *empty.buffers()])
        if held > _num_elements(weights.state) + MAX_BESIDE:
            raise ValueError(f"it would hold {held:,} numbers")
    except Exception as error:  # whatever arguments of any form lead to
        raise InputError(
            f"{weights.path}: no {name} can be made with its arguments ({error}): give the "
            f"{weights.kind} weights of a run of this version"
        ) from error
    weights.check(empty)
    network = network_class(**weights.arguments)
    network.load_state_dict(weights.state)
    return network


@contextmanager
def _no_larger_than(state: Mapping[str, Tensor]) -> Iterator[None]:
    """No network is made in here that has many more parameters than a state."""
    # Twice: a layer may register its weight once more under another name.
    left = [2 * len(state), 2 * _num_elements(state)]

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        if parameter is not None:
            left[0] -= 1
            left[1] -= parameter.numel()
        if min(left) < 0:
            raise ValueError("it would be larger than what is stored of it")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _num_elements(state: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in state.values())


def _form(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"
