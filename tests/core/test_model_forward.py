"""What the model does with panels, sizes and masks of any kind."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from virtues_core.errors import InputError
from virtues_core.model import ModelConfig, VirTues, reconstruction_loss

SIZES = {
    "model_dim": 16,
    "feedforward_dim": 24,
    "num_heads": 2,
    "encoder_pattern": "hvfhv",
    "decoder_pattern": "ff",
    "marker_embedding_dim": 12,
}
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


def build(**sizes: object) -> VirTues:
    """Draw a model whose every weight matters, biases and the detail head too."""
    torch.manual_seed(0)
    model = VirTues(ModelConfig(**{**SIZES, **sizes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def batch(
    *counts: int, height: int = 16, width: int = 24, hidden: float = 0.5
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    g = torch.Generator().manual_seed(sum(counts))
    images = [torch.randn(c, height, width, generator=g) for c in counts]
    embeddings = [torch.randn(c, SIZES["marker_embedding_dim"], generator=g) for c in counts]
    masks = [torch.rand(c, height // 8, width // 8, generator=g) < hidden for c in counts]
    return images, embeddings, masks


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


MASKED: dict[str, Callable[[list[Tensor]], list[Tensor] | None]] = {
    "nothing": lambda masks: None,
    "random patches": lambda masks: masks,
    "a channel whole": lambda masks: [
        torch.zeros_like(m).index_fill(0, torch.tensor([1]), value=True) for m in masks
    ],
    "a place in all channels": lambda masks: [
        torch.zeros_like(m).index_fill(2, torch.tensor([0]), value=True) for m in masks
    ],
    "everything": lambda masks: [torch.ones_like(m) for m in masks],
}


@pytest.mark.parametrize("detail_dim", [0, 6])
@pytest.mark.parametrize("masked", MASKED)
def test_a_ragged_batch_is_its_samples_one_by_one(masked: str, detail_dim: int) -> None:
    model = build(detail_dim=detail_dim)
    images, embeddings, masks = batch(2, 5, 3)
    masks = MASKED[masked](masks)
    with torch.no_grad():
        together = model(images, embeddings, masks)
        for i in range(3):
            alone = model(
                images[i : i + 1],
                embeddings[i : i + 1],
                None if masks is None else masks[i : i + 1],
            )
            assert_close(together.patch_summary[i], alone.patch_summary[0])
            assert_close(together.reconstruction[i], alone.reconstruction[0])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 40), (128, 128), (56, 16)])
def test_any_multiple_of_a_patch(height: int, width: int) -> None:
    model = build(detail_dim=4)
    images, embeddings, masks = batch(2, 3, height=height, width=width)
    with torch.no_grad():
        output = model(images, embeddings, masks)
    assert [tuple(x.shape) for x in output.patch_summary] == [(height // 8, width // 8, 16)] * 2
    assert [tuple(x.shape) for x in output.reconstruction] == [(c, height, width) for c in (2, 3)]
    assert all(bool(x.isfinite().all()) for x in (*output.patch_summary, *output.reconstruction))


def test_another_patch_size() -> None:
    model = build(patch_size=4, detail_dim=4)
    images, embeddings, _ = batch(2, height=12, width=20)
    output = model(images, embeddings)
    assert output.patch_summary[0].shape == (3, 5, 16)
    assert output.reconstruction[0].shape == (2, 12, 20)


@pytest.mark.parametrize("detail_dim", [0, 6])
@pytest.mark.parametrize("masked", MASKED)
def test_chosen_channels_in_the_order_asked_for(masked: str, detail_dim: int) -> None:
    model = build(detail_dim=detail_dim)
    images, embeddings, masks = batch(4, 2)
    masks = MASKED[masked](masks)
    with torch.no_grad():
        every = model(images, embeddings, masks)
        some = model(images, embeddings, masks, channels=[[3, 1], []])
    assert_close(some.reconstruction[0], every.reconstruction[0][[3, 1]])
    assert some.reconstruction[1].shape == (0, 16, 24)
    for found, expected in zip(some.patch_summary, every.patch_summary, strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("pattern", ["hv", "hvh", "f"])
@pytest.mark.parametrize("masked", MASKED)
def test_summaries_alone(masked: str, pattern: str) -> None:
    model = build(encoder_pattern=pattern)
    images, embeddings, masks = batch(3, 3)
    masks = MASKED[masked](masks)
    with torch.no_grad():
        every = model(images, embeddings, masks)
        summaries = model(images, embeddings, masks, channels=[[], []])
    for found, expected in zip(summaries.patch_summary, every.patch_summary, strict=True):
        assert_close(found, expected)
    assert all(x.shape == (0, 16, 24) for x in summaries.reconstruction)


def test_summaries_of_inner_layers() -> None:
    model = build(encoder_pattern="hvhv")
    images, embeddings, _ = batch(3, 3)
    layout = model.layout(images, embeddings, None)
    with torch.no_grad():
        every = model.encode(images, embeddings, layout, layers=(2, 4))
        trimmed = model.encode(images, embeddings, layout, layers=(2, 4), only_summaries=True)
        inner = VirTues(ModelConfig(**{**SIZES, "encoder_pattern": "hv"}))
        weights = model.state_dict()
        inner.load_state_dict({key: weights[key] for key in inner.state_dict()})
        shallow = inner.encode(images, embeddings, layout, layers=(2,))
    assert_close(every.summaries_of_layers[0], shallow.summaries_of_layers[0])
    last = every.summaries_of_layers[1]
    assert_close(model.encoder.norm(last), every.tokens[: layout.summaries])
    for found, expected in zip(trimmed.summaries_of_layers, every.summaries_of_layers, strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("detail_dim", [0, 6])
def test_hidden_pixels_are_never_seen(detail_dim: int) -> None:
    model = build(detail_dim=detail_dim)
    images, embeddings, masks = batch(4)
    hidden = masks[0].repeat_interleave(8, 1).repeat_interleave(8, 2)
    other = torch.where(hidden, 1e3, images[0])
    seen = torch.where(hidden, images[0], images[0] + 1)
    with torch.no_grad():
        expected = model(images, embeddings, masks)
        found = model([other], embeddings, masks)
        changed = model([seen], embeddings, masks)
    assert_close(found.reconstruction[0], expected.reconstruction[0])
    assert_close(found.patch_summary[0], expected.patch_summary[0])
    assert (changed.reconstruction[0] - expected.reconstruction[0]).abs().max() > 0.01


@pytest.mark.parametrize("detail_dim", [0, 6])
def test_with_everything_hidden_the_pixels_do_not_matter(detail_dim: int) -> None:
    model = build(detail_dim=detail_dim)
    images, embeddings, masks = batch(3, 2)
    masks = [torch.ones_like(mask) for mask in masks]
    with torch.no_grad():
        one = model(images, embeddings, masks)
        two = model([image * 7 + 3 for image in images], embeddings, masks)
    for a, b in zip(one.reconstruction, two.reconstruction, strict=True):
        assert_close(a, b)
        assert bool(a.isfinite().all())


@pytest.mark.parametrize("detail_dim", [0, 6])
def test_the_order_of_markers_does_not_matter(detail_dim: int) -> None:
    model = build(detail_dim=detail_dim)
    images, embeddings, masks = batch(5)
    order = torch.tensor([3, 0, 4, 2, 1])
    with torch.no_grad():
        first = model(images, embeddings, masks)
        second = model([images[0][order]], [embeddings[0][order]], [masks[0][order]])
    assert_close(second.reconstruction[0], first.reconstruction[0][order])
    assert_close(second.patch_summary[0], first.patch_summary[0])


def test_markers_are_told_apart_by_their_embeddings() -> None:
    model = build()
    images, embeddings, masks = batch(3)
    with torch.no_grad():
        first = model(images, embeddings, masks)
        second = model(images, [embeddings[0][[1, 0, 2]]], masks)
    assert (first.reconstruction[0] - second.reconstruction[0]).abs().max() > 0.01


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("masked", MASKED)
def test_bfloat16_is_close(device: str, masked: str) -> None:
    model = build(detail_dim=6).to(device)
    images, embeddings, masks = batch(4, 3)
    masks = MASKED[masked](masks)
    images, embeddings = ([x.to(device) for x in table] for table in (images, embeddings))
    masks = None if masks is None else [x.to(device) for x in masks]
    with torch.inference_mode():
        expected = model(images, embeddings, masks)
        model.to(torch.bfloat16)
        half = [[x.bfloat16() for x in table] for table in (images, embeddings)]
        found = model(*half, masks)
    for a, b in zip(found.patch_summary, expected.patch_summary, strict=True):
        assert a.dtype == torch.bfloat16
        assert torch.cosine_similarity(a.float(), b, dim=-1).min() > 0.99
    for a, b in zip(found.reconstruction, expected.reconstruction, strict=True):
        assert (a.float() - b).std() < 0.05 * b.std()


@pytest.mark.parametrize("device", DEVICES)
def test_training_under_autocast(device: str) -> None:
    model = build(detail_dim=6).train().to(device)
    images, embeddings, masks = ([x.to(device) for x in table] for table in batch(4, 3))
    expected = reconstruction_loss(model(images, embeddings, masks).reconstruction, images)
    with torch.autocast(device, dtype=torch.bfloat16):
        output = model(images, embeddings, masks)
    loss = reconstruction_loss(output.reconstruction, images)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    gradients = [p.grad for p in model.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)


@pytest.mark.parametrize("hidden", [0.0, 0.5])
def test_inference_on_many_tokens_gives_the_numbers_of_training(hidden: float) -> None:
    model = build(detail_dim=6)
    images, embeddings, masks = batch(4, 3, height=128, width=128, hidden=hidden)
    expected = model(images, embeddings, masks)
    assert expected.reconstruction[0].requires_grad
    with torch.inference_mode():
        found = model(images, embeddings, masks)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = model(images, embeddings, masks)
    for i in range(2):
        assert_close(found.patch_summary[i], expected.patch_summary[i].detach())
        assert_close(found.reconstruction[i], expected.reconstruction[i].detach())
        error = mixed.reconstruction[i].float() - found.reconstruction[i]
        assert error.std() < 0.05 * found.reconstruction[i].std()


def test_the_detail_head_is_off_as_published_and_learns_where_it_is_on() -> None:
    assert not any(key.startswith("detail") for key in build().state_dict())
    model = build(detail_dim=6).train()
    images, embeddings, masks = batch(4, 3)
    loss = reconstruction_loss(model(images, embeddings, masks).reconstruction, images)
    loss.backward()
    norms = {k: p.grad.norm().item() for k, p in model.named_parameters() if p.grad is not None}
    assert set(norms) == set(model.state_dict())
    assert all(norm > 0 for key, norm in norms.items() if key.startswith("detail."))
    assert any(key.startswith("detail.") for key in norms)


def test_a_fresh_detail_head_changes_little() -> None:
    torch.manual_seed(1)
    model = VirTues(ModelConfig(**SIZES, detail_dim=6)).eval()
    plain = VirTues(ModelConfig(**SIZES)).eval()
    weights = model.state_dict()
    plain.load_state_dict({key: weights[key] for key in plain.state_dict()})
    images, embeddings, masks = batch(4)
    with torch.no_grad():
        with_head = model(images, embeddings, masks).reconstruction[0]
        without = plain(images, embeddings, masks).reconstruction[0]
    assert 0 < (with_head - without).abs().max() < 0.1


def test_the_loss_weighs_pixels() -> None:
    images = [torch.zeros(1, 8, 8), torch.zeros(2, 8, 8)]
    found = [torch.full((1, 8, 8), 2.0), torch.ones(2, 8, 8)]
    assert reconstruction_loss(found, images).item() == pytest.approx((4 + 1 + 1) / 3)
    weight = torch.cat([torch.ones(64), torch.zeros(128)])
    assert reconstruction_loss(found, images, weight).item() == pytest.approx(4)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda i, e, m: ([], [], []), "one image at least; got 0 images and 0 tables"),
        (lambda i, e, m: (i, e[:1], m), "got 2 images and 1 tables"),
        (lambda i, e, m: ([x[:, :12] for x in i], e, m), "multiples of 8 px, got 12 x 24"),
        (lambda i, e, m: ([i[0], i[1][:, :8]], e, m), r"sample 1: expected pixels \(C, 16, 24\)"),
        (lambda i, e, m: ([i[0][0], i[1]], e, m), r"sample 0: expected pixels .* got \(16, 24\)"),
        (lambda i, e, m: ([i[0], i[1][:0]], e, m), "with a channel at least"),
        (lambda i, e, m: (i, [e[0], e[1][:, :6]], m), r"sample 1: expected marker embeddings \(3,"),
        (lambda i, e, m: (i, [e[0][:1], e[1]], m), r"sample 0: .* \(2, 12\), got \(1, 12\)"),
        (
            lambda i, e, m: (i, e, [m[0], m[1][:2]]),
            r"sample 1: expected a mask of bool \(3, 2, 3\)",
        ),
        (lambda i, e, m: (i, e, m[:1]), "one mask for each of 2 images, got 1"),
        (lambda i, e, m: (i, e, [m[0], m[1].float()]), "sample 1: expected a mask of bool"),
    ],
)
def test_input_that_does_not_fit_is_named(change: Callable, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        build()(*change(*batch(2, 3)))


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        ([[0]], "channels to decode for each of 2 images, got 1"),
        ([[0], [3]], r"sample 1: .* from 0 to 2, each once; got \[3\]"),
        ([[-1], [0]], r"sample 0: .* from 0 to 1, each once; got \[-1\]"),
        ([[0, 0], [0]], r"each once; got \[0, 0\]"),
    ],
)
def test_channels_that_are_not_there(channels: list[list[int]], problem: str) -> None:
    images, embeddings, masks = batch(2, 3)
    with pytest.raises(InputError, match=problem):
        build()(images, embeddings, masks, channels=channels)
