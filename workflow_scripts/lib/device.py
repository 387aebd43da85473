"""The device that a process computes on. Which card it sees is `cards`' business.

A process that sees no card imports no torch here.
"""

import os
from pathlib import Path

import numpy as np

DEVICES = ("nvidia*", "dxg", "kfd")  # in /dev: NVIDIA's, also below Windows, and AMD's


def has_gpu():
    """Whether this process sees a graphics card that torch can use."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return False
    if not any(path for name in DEVICES for path in Path("/dev").glob(name)):
        return False
    import torch

    return torch.cuda.is_available()


def placed(array):
    """A NumPy array of float32 as a tensor on the process's card; without a card as it is."""
    if array is None or not has_gpu():
        return array
    import torch

    return torch.from_numpy(np.require(array, requirements="W")).to("cuda")


def torch_device():
    """The torch.device to compute on: the process's card if it sees one, else the CPU."""
    import torch

    return torch.device("cuda" if has_gpu() else "cpu")


def has_bfloat16(device):
    """Whether a torch.device multiplies bfloat16 matrices in hardware, faster than float32.

    A CPU does with AVX512-BF16 or AMX (x86), or with BF16 of Armv8.6.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def resolved(precision, device):
    """The precision that "auto" is on a torch.device, bfloat16 where `has_bfloat16`, else float32;
    another one as it is."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"
