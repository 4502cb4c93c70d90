"""Device, precision and processes: where and how a stage computes."""

import ctypes
import os
import platform
import shutil
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from handwriting.config import Runtime as RuntimeConfig
from handwriting.errors import InputError
from handwriting.networks.blocks import ModulatedBlock
from handwriting.networks.encoders import ResidualBlock, fold_batch_norms
from handwriting.networks.whole_batch import sync_layers
from handwriting.parallel.ranks import all_reduce_mean_, rank, world_size
from handwriting.rng import Rng

Network = TypeVar("Network", bound=nn.Module)


def precision_of(config: RuntimeConfig) -> str:
    """``no`` (float32) or ``bf16``; ``auto`` is bf16 where the hardware supports it natively.

    Elsewhere bf16 is emulated, at a tenth of the speed of float32.
    """
    if config.precision != "auto":
        return config.precision
    if config.device == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = torch.cpu.get_capabilities()
        able = bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return "bf16" if able else "no"


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES = 2**30


def keep_freed_memory() -> None:
    """Have glibc's malloc keep up to ``KEPT_BYTES`` of freed memory, which it reuses.

    By default the memory of a step's tensors goes back to the system, whose fresh pages the next
    step waits for: up to a sixth of a training step on a CPU. Other C libraries have no mallopt.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


class Runtime:
    """Where and how a stage computes.

    Raises:
        InputError: there is no GPU or no C++ compiler, and the configuration needs it.
    """

    def __init__(self, config: RuntimeConfig) -> None:
        if config.device == "cuda" and not torch.cuda.is_available():
            raise InputError("runtime.device=cuda, but torch finds no GPU: use runtime=cpu")
        compilers = [os.environ.get("CXX", "g++"), "clang++"]
        if config.compile and not any(map(shutil.which, compilers)):
            raise InputError(
                f"runtime.compile=true needs a C++ compiler, one of {', '.join(compilers)}: "
                "install g++ or set runtime.compile=false"
            )
        keep_freed_memory()
        self.device = torch.device(config.device)
        if config.device == "cuda" and world_size() > 1:
            self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(self.device)
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        self._compile = config.compile
        self._bf16 = precision_of(config) == "bf16"

    def seed(self, seed: int) -> Rng:
        """Seed torch for weights and dropout; return the generator that draws the batches."""
        torch.manual_seed(seed)
        return Rng(seed, self.device, rank(), world_size())

    def to_device(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in the memory layout that is fastest there; compile it.

        With several processes, its batch norms and dropouts then see the whole batch.
        """
        network = sync_layers(network)
        # Channels-last convolutions are up to 1.5 times as fast, even on a CPU, but there they make
        # group norm in bf16 ten times slower.
        has_group_norm = any(isinstance(part, nn.GroupNorm) for part in network.modules())
        keeps = self._bf16 and self.device.type == "cpu" and has_group_norm
        layout = torch.contiguous_format if keeps else torch.channels_last
        network.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        if self._compile:
            # Block by block: equal blocks are compiled once, and the generator's last layer, at
            # which gradients are compared, stays apart.
            for part in network.modules():
                if isinstance(part, ModulatedBlock | ResidualBlock):
                    part.compile(dynamic=False)
        return network

    def freeze(self, network: Network) -> Network:
        """Move a trained network to the device for inference; its batch norms are folded."""
        fold_batch_norms(network.eval().requires_grad_(False))
        self.to_device(network)
        return network

    def autocast(self) -> torch.autocast:
        """A context that computes in the configured precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16)

    def step(self, optimizer: Optimizer) -> Tensor:
        """Update the weights by their gradients, averaged over the processes.

        A step whose gradients are not finite changes nothing. That is decided on the device: the
        host does not wait.

        Args:
            optimizer: Adam or AdamW with ``fused=True``, which look at ``found_inf``.

        Returns:
            The norm of the gradients (), to be logged: the run stops where it is not finite.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        all_reduce_mean_(gradients)
        norm = get_total_norm(gradients)
        optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        optimizer.step()
        return norm
