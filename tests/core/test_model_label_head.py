"""Channel summary tokens against the same thing done plainly, and their file."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from label_samples import small_checkpoint
from torch import Tensor

from virtues_core.errors import CheckpointError, InputError
from virtues_core.model import VirTues, load_checkpoint, save_checkpoint
from virtues_core.model.label_file import (
    LABEL_FILE,
    LabelModel,
    load_label_model,
    save_label_model,
)
from virtues_core.model.label_head import Explained, LabelHead

GRID = (2, 3)


def head_of(model: VirTues, classes: int = 2) -> LabelHead:
    torch.manual_seed(2)
    head = LabelHead(model.config, classes)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head.eval().requires_grad_(requires_grad=False)


def sharp(pattern: str) -> VirTues:
    """Weights far from even attention."""
    model = small_checkpoint(pattern).model
    for block in model.encoder.blocks:
        block.qkv.weight.mul_(4)
    return model


def turned(x: Tensor, row: float, column: float) -> Tensor:
    """Rotary position of one vector of one head, pair by pair."""
    quarter, out = len(x) // 4, x.clone()
    for half, at in enumerate((row, column)):
        for k in range(quarter):
            i, j = 2 * quarter * half + k, 2 * quarter * half + quarter + k
            angle = torch.tensor(at * 10_000.0 ** (-2 * k / (len(x) / 2)))
            out[i] = x[i] * angle.cos() - x[j] * angle.sin()
            out[j] = x[j] * angle.cos() + x[i] * angle.sin()
    return out


def by_hand(
    model: VirTues, head: LabelHead, image: Tensor, markers: Tensor, channel: int = 0
) -> Explained:
    """One sample, token by token: x[c][p], the token in the middle last, channel 0 the summary."""
    encoder, heads = model.encoder, model.config.num_heads
    rows, columns = GRID
    places = [(float(i), float(j)) for i in range(rows) for j in range(columns)]
    places.append(((rows - 1) / 2, (columns - 1) / 2))
    terms = encoder.marker(markers)
    x = [[encoder.summary_token] * (rows * columns) + [head.summary_token]]
    for pixels, term in zip(image, terms, strict=True):
        cut = [pixels[8 * i : 8 * i + 8, 8 * j : 8 * j + 8] for i, j in
               [(int(a), int(b)) for a, b in places[:-1]]]  # fmt: skip
        own = [encoder.patch(patch.flatten()) + term for patch in cut]
        x.append([*own, head.marker_token + term])
    table = torch.stack([torch.stack(own) for own in x])  # (1 + C, P + 1, D)
    kept = None
    for number, (letter, block) in enumerate(
        zip(model.config.encoder_pattern, encoder.blocks, strict=True)
    ):
        q, k, v = block.qkv(block.norm1(table)).unflatten(-1, (3, heads, -1)).unbind(2)
        if letter == "h":
            for c in range(len(table)):
                for p, at in enumerate(places):
                    for h in range(heads):
                        for t in (q, k):
                            t[c, p, h] = turned(t[c, p, h], *at)
        else:
            q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        scores = torch.einsum("gqhd,gkhd->ghqk", q, k) / q.shape[-1] ** 0.5
        weights = scores.softmax(-1)
        attended = torch.einsum("ghqk,gkhd->gqhd", weights, v)
        if number == head.layer:
            kept = weights[channel, :, -1, :-1].unflatten(-1, GRID)
        if letter == "v":
            attended = attended.transpose(0, 1)
        table = block.finish(table.flatten(0, 1), attended.flatten(0, 1)).view_as(table)
    assert kept is not None
    return Explained(head.classifier(encoder.norm(table[0, -1])), kept)


@pytest.mark.parametrize("pattern", ["hvhvhv", "vhvh"])
def test_logits_and_attention_are_those_of_the_plain_way(pattern: str) -> None:
    model = sharp(pattern)
    head = head_of(model)
    g = torch.Generator().manual_seed(0)
    images = [torch.randn(c, 16, 24, generator=g) for c in (3, 3, 2)]
    markers = [torch.randn(c, 640, generator=g) for c in (3, 3, 2)]
    with torch.no_grad():
        expected = [by_hand(model, head, i, m) for i, m in zip(images, markers, strict=True)]
        for chosen in ([0, 1], [0, 2], [2]):  # of one panel, of two, alone
            found = head.explain(model, [images[i] for i in chosen], [markers[i] for i in chosen])
            for i, logits, attention in zip(chosen, *found, strict=True):
                torch.testing.assert_close(logits, expected[i].logits, atol=1e-4, rtol=1e-4)
                torch.testing.assert_close(attention, expected[i].attention)
        assert found.attention.std() > 0.05
        own = head.explain(model, images[:2], markers[:2], channel=3).attention  # of a marker
        torch.testing.assert_close(own[1], by_hand(model, head, images[1], markers[1], 3).attention)
        with pytest.raises(InputError, match="images of one panel"):
            head.explain(model, images[1:], markers[1:], channel=1)
        torch.testing.assert_close(head(model, images[:1], markers[:1])[0], expected[0].logits,
                                   atol=1e-4, rtol=1e-4)  # fmt: skip


@pytest.mark.parametrize("sizes", [(3, 3), (3, 2)], ids=["one panel", "two panels"])
def test_every_weight_that_takes_part_gets_a_gradient(sizes: tuple[int, int]) -> None:
    model = small_checkpoint().model
    model.encoder.requires_grad_(requires_grad=True)
    head = head_of(model).requires_grad_(requires_grad=True)
    images = [torch.randn(c, 16, 24) for c in sizes]
    head(model, images, [torch.randn(c, 640) for c in sizes]).square().sum().backward()
    without = {name for name, p in model.encoder.named_parameters() if p.grad is None}
    assert without == {"masked_token"}
    for parameter in (*model.encoder.parameters(), *head.parameters()):
        assert parameter.grad is None or parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("pattern", ["hv", "hvh", "hhvh", "vv", "ff"])
def test_a_model_whose_summaries_would_see_nothing_is_refused(pattern: str) -> None:
    config = small_checkpoint(pattern).config
    if pattern == "hhvh":  # the last but one comes before any marker attention
        assert config.encoder_pattern[1] == "h"
    with pytest.raises(InputError, match=f"comes after a marker layer.*found '{pattern}'"):
        LabelHead(config, 2)


def label_model() -> LabelModel:
    checkpoint = small_checkpoint()
    held_out = {
        "macro_f1": 0.8,
        "macro_f1_90": [0.6, 0.9],
        "macro_f1_by_chance": 0.5,
        "patients": 19,
    }
    return LabelModel(checkpoint, head_of(checkpoint.model), "grade", ("high", "low"), held_out)


def test_a_folder_opens_as_it_was_saved(tmp_path: Path) -> None:
    model, folder = label_model(), tmp_path / "grade"
    save_label_model(model, folder)
    found = load_label_model(load_checkpoint(folder))
    assert (found.label, found.classes, found.held_out) == (
        "grade",
        ("high", "low"),
        model.held_out,
    )
    assert found.told() == (
        "on 19 patients kept out: macro F1 0.80 (90 %: 0.60 to 0.90), by chance 0.50"
    )
    few = replace(model, held_out={**model.held_out, "patients": 9})
    assert few.told().endswith("by chance 0.50; too few patients to rely on")
    for name, value in model.head.state_dict().items():
        torch.testing.assert_close(found.head.state_dict()[name], value)
    same = load_checkpoint(folder).model.state_dict()  # it is a checkpoint's folder as well
    torch.testing.assert_close(same["encoder.patch.weight"],
                               model.checkpoint.model.encoder.patch.weight)  # fmt: skip
    save_label_model(replace(model, held_out={}), folder)  # over an older one
    assert load_label_model(load_checkpoint(folder)).told() == "not tested on other patients"
    assert [path.name for path in tmp_path.iterdir()] == ["grade"]


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    model, folder = label_model(), tmp_path / "grade"
    save_checkpoint(model.checkpoint, folder)
    with pytest.raises(CheckpointError, match="expected a folder of virtues train-label"):
        load_label_model(load_checkpoint(folder))
    with pytest.raises(InputError, match=r"a new folder.*found something else"):
        save_label_model(model, folder)
    assert not (folder / LABEL_FILE).exists()
    other = tmp_path / "other"
    save_label_model(model, other)
    weights = (other / LABEL_FILE).read_bytes()
    (other / LABEL_FILE).write_bytes(weights[:-9])
    with pytest.raises(CheckpointError, match="not a whole file of virtues train-label"):
        load_label_model(load_checkpoint(other))
    save_label_model(replace(model, classes=("high", "low", "middle")), other)
    with pytest.raises(CheckpointError, match="other shapes in: classifier"):
        load_label_model(load_checkpoint(other))
