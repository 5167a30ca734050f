"""Where numbers are crunched, and in which precision."""

from __future__ import annotations

import pytest
import torch
from limbeck_server.distillation.device import DeviceError, autocast, choose_device, network_dtype

CPU = torch.device("cpu")
HAS_CUDA = torch.cuda.is_available()


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == CPU


def test_auto_takes_cuda_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if HAS_CUDA else "cpu")


@pytest.mark.skipif(HAS_CUDA, reason="this machine has a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_is_refused_where_there_is_none(name: str) -> None:
    with pytest.raises(DeviceError, match="has 0 CUDA devices"):
        choose_device(name)


def test_a_device_beyond_the_last_is_refused_with_what_is_there() -> None:
    count = torch.cuda.device_count() if HAS_CUDA else 0
    with pytest.raises(DeviceError, match=f"has {count} CUDA devices .* not 'cuda:99'"):
        choose_device("cuda:99")


@pytest.mark.parametrize(
    "name", ["", "gpu", "CPU", "cpu:0", "cuda:-1", "cuda:one", "cuda:0:1", "cuda:\u00b2", "cuda:\u0663", "mps", "meta"]
)
def test_other_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(DeviceError, match="'auto', 'cpu', 'cuda' or 'cuda:N'"):
        choose_device(name)


def test_networks_run_in_half_precision_on_cuda_only() -> None:
    assert network_dtype(CPU) == torch.float32
    assert network_dtype(torch.device("cuda:1")) == torch.float16


def test_the_scene_keeps_full_precision_on_the_cpu() -> None:
    one = torch.ones(2, 2)
    with autocast(CPU):
        assert (one @ one).dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_the_scene_is_rendered_in_mixed_precision_on_cuda() -> None:
    one = torch.ones(2, 2, device="cuda")
    with autocast(one.device):
        assert (one @ one).dtype == torch.bfloat16
    assert choose_device("cuda:0") == torch.device("cuda:0")
