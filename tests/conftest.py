"""Fixtures that several rooms share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _shared() -> Path:
    return Path(os.environ.get("VIRTUES_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images and tables; the test is skipped where it is absent."""
    folder = _shared() / "data"
    if not folder.is_dir():
        pytest.skip(f"real test data not found at {folder} (set VIRTUES_SHARED)")
    return folder


@pytest.fixture(scope="session")
def parity_data() -> Path:
    """Folder of reference outputs of the published model; skipped where it is absent."""
    folder = _shared() / "parity"
    if not folder.is_dir():
        pytest.skip(f"reference outputs not found at {folder} (set VIRTUES_SHARED)")
    return folder
