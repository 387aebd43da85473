"""The device that a process computes on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workflow_scripts.lib import device

ROOT = Path(__file__).parents[2]
CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.exists(), reason="needs /proc/cpuinfo")
def test_bfloat16_is_what_the_kernel_says_of_the_processor():
    words = set(re.findall(r"\w+", CPUINFO.read_text()))
    expected = bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
    assert device.has_bfloat16(torch.device("cpu")) == expected


def test_a_process_that_sees_no_card_imports_no_torch():
    program = "import sys; from workflow_scripts.lib.device import has_gpu; "
    program += "assert not has_gpu(); assert 'torch' not in sys.modules"
    environment = {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=os.environ | environment, check=True)
