"""Every way of attending gives the numbers of a plain softmax over each sequence."""

import pytest
import torch
from torch import Tensor

from virtues_core.errors import ConfigError
from virtues_core.model.attention import attention, available_backends
from virtues_core.model.layout import Groups, Layout

GRID = (2, 3)
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
        ],
    ),
]


def plain(q: Tensor, k: Tensor, v: Tensor, group: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v over all rows, those of other sequences left out; in float64."""
    q, k, v = (x.double().cpu().transpose(0, 1) for x in (q, k, v))
    scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
    own = (group[:, None] == group[None, :]).cpu()
    weights = scores.masked_fill(~own[: q.shape[1]], -torch.inf).softmax(-1)
    return (weights @ v).transpose(0, 1)


def rows(count: int, device: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(count)
    return tuple(torch.randn(count, 2, 16, generator=g).to(device, dtype) for _ in range(3))


def layouts(device: str) -> dict[str, Layout]:
    g = torch.Generator().manual_seed(5)
    hidden = [torch.rand(count, *GRID, generator=g) < 0.5 for count in (3, 7)]
    whole = [torch.zeros(count, *GRID, dtype=torch.bool) for count in (3, 4)]
    whole[1][2] = True
    everything = [torch.ones(count, *GRID, dtype=torch.bool) for count in (3, 7)]
    on = torch.device(device)
    return {
        "full": Layout.of([4, 4], GRID, None, on),
        "channels hidden whole": Layout.of([3, 4], GRID, whole, on),
        "ragged": Layout.of([3, 7], GRID, None, on),
        "random patches hidden": Layout.of([3, 7], GRID, hidden, on),
        "summaries alone": Layout.of([3, 7], GRID, everything, on),
    }


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("letter", "hvf")
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", layouts("cpu"))
def test_sdpa_is_a_plain_softmax(name: str, letter: str, device: str, gradients: bool) -> None:
    groups = layouts(device)[name].groups(letter)
    q, k, v = rows(len(groups.group), device)
    with torch.set_grad_enabled(gradients):
        found = attention(q, k, v, groups, backend="sdpa")
    torch.testing.assert_close(found.cpu(), plain(q, k, v, groups.group).float())


def test_which_layouts_need_no_padding() -> None:
    full = {name for name, layout in layouts("cpu").items() if layout.groups("h").grid is not None}
    assert full == {"full", "channels hidden whole", "summaries alone"}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("letter", "hv")
def test_without_padding_the_same_as_with(letter: str, device: str) -> None:
    full = layouts(device)["full"].groups(letter)
    padded = Groups(full.group, full.step)
    q, k, v = rows(len(full.group), device)
    expected = attention(q, k, v, padded, backend="sdpa")
    torch.testing.assert_close(attention(q, k, v, full, backend="sdpa"), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_queries_of_the_summaries_alone(device: str) -> None:
    layout = layouts(device)["full"]
    groups = layout.groups("v")
    q, k, v = rows(len(groups.group), device)
    every = attention(q, k, v, groups)
    few = attention(q[: layout.summaries], k, v, groups)
    torch.testing.assert_close(few, every[: layout.summaries])


@pytest.mark.parametrize("letter", "hvf")
def test_gradients_are_those_of_a_plain_softmax(letter: str) -> None:
    groups = layouts("cpu")["random patches hidden"].groups(letter)
    tables = [x.requires_grad_() for x in rows(len(groups.group), "cpu")]
    weight = torch.linspace(-1, 1, tables[0].numel()).reshape(tables[0].shape)
    found = torch.autograd.grad((attention(*tables, groups) * weight).sum(), tables)
    expected = torch.autograd.grad((plain(*tables, groups.group) * weight).sum(), tables)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("letter", "hvf")
@pytest.mark.parametrize("name", layouts("cpu"))
def test_every_backend_of_a_gpu_gives_the_same(name: str, letter: str) -> None:
    groups = layouts("cuda")[name].groups(letter)
    q, k, v = rows(len(groups.group), "cuda", torch.bfloat16)
    expected = plain(q, k, v, groups.group)
    for backend in ("auto", *available_backends(q.device, q.dtype)):
        found = attention(q, k, v, groups, backend=backend).double().cpu()
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2, msg=backend)


def test_backends_of_a_processor() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert available_backends(torch.device("cpu"), dtype) == ("sdpa",)


@pytest.mark.parametrize("backend", ["varlen", "flash", "fast"])
def test_a_backend_that_does_not_run_here_is_refused(backend: str) -> None:
    groups = layouts("cpu")["full"].groups("h")
    with pytest.raises(ConfigError, match=f"'{backend}' does not run on cpu.*auto, sdpa"):
        attention(*rows(len(groups.group), "cpu"), groups, backend=backend)
