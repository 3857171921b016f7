"""Finding out early, and saying why, where a file cannot be written."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from virtues_core.cohort import read_table, write_table
from virtues_core.errors import VirtuesError
from virtues_core.files import check_room, check_writable, replacing


def test_a_place_is_tried_without_a_trace(tmp_path: Path) -> None:
    old = tmp_path / "new" / "table.h5ad"
    check_writable(old)
    assert not list(old.parent.iterdir())
    old.write_text("as it was")
    check_writable(old)
    assert [path.read_text() for path in old.parent.iterdir()] == ["as it was"]
    with pytest.raises(VirtuesError, match=f"could not write 'x'.*{os.strerror(errno.ENOTDIR)}"):
        check_writable(old / "folder" / "x")


@pytest.fixture
def limit() -> Iterator[None]:
    """Let this process write 1 MB a file: more meets the error of a full disk."""
    resource = pytest.importorskip("resource", reason="file size limits are a POSIX feature")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("limit")
def test_room_is_taken_and_given_back(tmp_path: Path) -> None:
    check_room(tmp_path / "t.h5ad", 700_000)
    with pytest.raises(VirtuesError, match=f"could not write 't.*{os.strerror(errno.EFBIG)}"):
        check_room(tmp_path / "t.h5ad", 10**6)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("limit")
def test_a_table_that_has_no_room_is_not_begun(tmp_path: Path) -> None:
    """HDF5 would end the process, when it exits, with a segmentation fault."""
    table = AnnData(np.zeros((1000, 300), np.float32))
    write_table(table[:100].copy(), tmp_path / "t.h5ad")
    with pytest.raises(VirtuesError, match=os.strerror(errno.EFBIG)):
        write_table(table, tmp_path / "t.h5ad")
    assert [path.name for path in tmp_path.iterdir()] == ["t.h5ad"]
    assert len(read_table(tmp_path / "t.h5ad")) == 100


def test_hdf5_says_why_amid_its_own_words(tmp_path: Path) -> None:
    said = "Can't decrement id ref count (file write failed: errno = 28, error message = '…')"
    for kind in (OSError, RuntimeError):
        with (
            pytest.raises(VirtuesError, match=re.escape(f": {os.strerror(28)}. ")),
            replacing(tmp_path / "t.h5ad"),
        ):
            raise kind(said)
    with pytest.raises(RuntimeError, match="another"), replacing(tmp_path / "t.h5ad"):
        raise RuntimeError("another")
    assert not list(tmp_path.iterdir())


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "slide.tiff").write_text("years")
    with (
        pytest.raises(VirtuesError, match=r"found the folder .*images.*choose another name"),
        replacing(tmp_path / "images") as new,
    ):
        new.write_text("{}")
    assert (tmp_path / "images" / "slide.tiff").read_text() == "years"
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
