"""Where numbers are crunched and in which precision: chosen here and nowhere else."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


class DeviceError(ValueError):
    """The device asked for is not there."""


def choose_device(name: str) -> torch.device:
    """Return the device that `name` stands for.

    Args:
        name: `auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        DeviceError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind == "cpu" and not index:
        return torch.device("cpu")
    if kind == "cuda" and (not index or (index.isascii() and index.isdecimal())):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) < count:
            return torch.device(name)
        raise DeviceError(f"this machine has {count} CUDA devices that torch {torch.__version__} can use, not {name!r}")
    raise DeviceError(f"a device is 'auto', 'cpu', 'cuda' or 'cuda:N', not {name!r}")


def network_dtype(device: torch.device) -> torch.dtype:
    """Return the precision of frozen networks: half on CUDA; full on the CPU, where half is slower (measured)."""
    return torch.float16 if device.type == "cuda" else torch.float32


def autocast(device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which the scene is rendered: mixed precision on CUDA, none on the CPU.

    bfloat16, since its range needs no gradient scaling: densities reach the hundreds and losses are sums over latents.
    """
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()
