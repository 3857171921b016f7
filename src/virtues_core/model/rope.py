"""Rotary positions in two dimensions (row, then column), counted in patches from 0.

Source: the paper, Methods, "VirTues Encoder" (rotary embeddings, Su et al. 2021); the layout of
the halves is that of the published checkpoint.
"""

from typing import NamedTuple

import torch
from torch import Tensor

THETA = 10_000.0


class Rotation(NamedTuple):
    """Cosines and sines to turn queries and keys by, one row a token."""

    cos: Tensor
    """(N, 1, 2, d/4): token, head (broadcast), axis (row, column), frequency."""
    sin: Tensor
    """As ``cos``."""


def rotation_table(
    rows: int, columns: int, head_dim: int, *, device: torch.device, dtype: torch.dtype
) -> Rotation:
    """Tabulate the rotation of every position of a grid.

    θ_k = 10000^(−2k / (d/2)) for k = 0 … d/4 − 1, where d is the head dimension.

    Returns
    -------
    Rotation
        Of ``rows * columns`` positions, row by row.
    """
    row, column = torch.meshgrid(
        torch.arange(rows, device=device, dtype=torch.float64),
        torch.arange(columns, device=device, dtype=torch.float64),
        indexing="ij",
    )
    position = torch.stack([row.flatten(), column.flatten()], dim=1)
    return rotation_of(position, head_dim, dtype=dtype)


def rotation_of(position: Tensor, head_dim: int, *, dtype: torch.dtype) -> Rotation:
    """Tabulate the rotation of positions (P, 2) float64: row, column, also between patches."""
    k = torch.arange(head_dim // 4, device=position.device, dtype=torch.float64)
    theta = THETA ** (-2 * k / (head_dim / 2))
    angle = (position[:, :, None] * theta)[:, None]
    return Rotation(angle.cos().to(dtype), angle.sin().to(dtype))


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn queries or keys by their positions.

    Parameters
    ----------
    x
        (N, heads, d). The head dimension is two halves, row and column; in each half the
        first d/4 values are paired with the last d/4.
    rotation
        Of the same N tokens.

    Returns
    -------
    Tensor
        As ``x``.
    """
    cos, sin = rotation
    pairs = torch.unflatten(x, -1, (2, 2, x.shape[-1] // 4))
    first, second = pairs.unbind(-2)
    turned = torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-2)
    return turned.flatten(-3)


def rotate_in_place(x: Tensor, rotation: Rotation, rows: slice) -> None:
    """Turn queries and keys (n, heads, d) where they lie; they are these rows of the table."""
    cos, sin = rotation.cos[rows], rotation.sin[rows]
    pairs = torch.unflatten(x, -1, (2, 2, x.shape[-1] // 4))
    first, second = pairs.unbind(-2)
    turned = first * cos
    turned.addcmul_(second, sin, value=-1)
    second.mul_(cos).addcmul_(first, sin)
    first.copy_(turned)
