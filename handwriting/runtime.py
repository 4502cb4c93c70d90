"""Device, precision and processes: the one place that talks to Hugging Face accelerate."""

from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from handwriting.config import Runtime as RuntimeConfig
from handwriting.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def precision_of(config: RuntimeConfig) -> str:
    """``no`` (float32) or ``bf16``; ``auto`` is bf16 where the processor computes in it.

    Elsewhere bf16 is emulated, at a tenth of the speed of float32.

    Raises:
        InputError: another word.
    """
    if config.precision not in ("auto", "no", "bf16"):
        raise InputError(f"runtime.precision={config.precision}: expected auto, no or bf16")
    if config.precision != "auto":
        return config.precision
    if config.device == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = torch.cpu.get_capabilities()
        able = bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return "bf16" if able else "no"


class Runtime:
    """Where and how a stage computes.

    Raises:
        InputError: an unknown device or precision, or a GPU that is not there.
    """

    def __init__(self, config: RuntimeConfig) -> None:
        if config.device not in ("cpu", "cuda"):
            raise InputError(f"runtime.device={config.device}: expected cpu or cuda")
        if config.device == "cuda" and not torch.cuda.is_available():
            raise InputError("runtime.device=cuda, but torch finds no GPU: use runtime=cpu")
        precision = precision_of(config)
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        # Its state is a singleton per process: a sweep may ask for another precision.
        AcceleratorState._reset_state(True)
        self._accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=precision)
        self.device: torch.device = self._accelerator.device

    def seed(self, seed: int) -> torch.Generator:
        """Seed torch for weights and dropout; return the generator that draws the data."""
        torch.manual_seed(seed)
        return torch.Generator(self.device).manual_seed(seed)

    def to_device(self, network: nn.Module) -> nn.Module:
        """Move a network, its convolutions in the layout that is quickest there."""
        # Channels-last convolutions are half as quick again, also on a CPU, but group norm on a CPU
        # is then ten times slower.
        has_group_norm = any(isinstance(part, nn.GroupNorm) for part in network.modules())
        keeps = self.device.type == "cpu" and has_group_norm
        layout = torch.contiguous_format if keeps else torch.channels_last
        return network.to(self.device, memory_format=layout)  # type: ignore[call-overload]

    def freeze(self, network: Network) -> Network:
        """Move a trained network for use without training it."""
        self.to_device(network)
        network.eval().requires_grad_(False)
        return network

    def autocast(self) -> AbstractContextManager[Any]:
        return self._accelerator.autocast()

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def step(self, optimizer: Optimizer) -> Tensor:
        """Take an optimizer's step; one whose gradients are not finite changes nothing.

        That is decided on the device: the host does not wait.

        Args:
            optimizer: Adam or AdamW with ``fused=True``, which look at ``found_inf``.

        Returns:
            The norm of its gradients (), to be logged: a run stops or skips by it.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        optimizer.step()
        return norm
