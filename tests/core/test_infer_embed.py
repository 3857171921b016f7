"""Images and masks to tables of tokens; what is stored of a run that was stopped."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import torch
from infer_samples import CHANNELS, USED, checkpoint, counts, image_of
from test_infer_tokens import by_the_definition, labels

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer import (
    Cancelled,
    EmbedRequest,
    Runner,
    checkpoint_signature,
    embed,
    prepare_image,
)
from virtues_core.infer.tiles import cut
from virtues_core.model import Checkpoint
from virtues_core.preprocess import tile_origins

SHAPE = (140, 150)


def sample(seed: int = 0) -> MultiplexImage:
    return replace(image_of(counts(seed), name="one"), pixel_size_um=(0.5, 2.0))


def cells(seed: int = 0) -> np.ndarray:
    return labels(SHAPE, 40, seed)


def summaries(image: MultiplexImage, known: Checkpoint, origins: np.ndarray) -> list[np.ndarray]:
    """Patch summaries of tiles, straight from the model."""
    prepared = prepare_image(image, None, known)
    tiles = [torch.from_numpy(tile.copy()) for tile in cut(prepared.pixels, origins)]
    markers = [torch.from_numpy(prepared.embeddings)] * len(tiles)
    with torch.inference_mode():
        return [tokens.numpy() for tokens in known.model(tiles, markers).patch_summary]


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_cell_is_the_mean_of_its_patches(in_memory: bool) -> None:
    image, mask, known = sample(), cells(), checkpoint()
    found = embed(image, mask, None, known, EmbedRequest(batch_size=2), in_memory=in_memory)
    origins = tile_origins(SHAPE, stride=42)
    expected = by_the_definition(summaries(image, known, origins), origins.tolist(), mask, 8)
    assert found.numbers.tolist() == sorted(expected)
    np.testing.assert_allclose(
        np.asarray(found.tokens), [expected[i] for i in sorted(expected)], rtol=1e-3, atol=1e-4
    )
    assert (found.tiles, found.stored_tiles) == (len(origins), 0)


def test_the_table(tmp_path: Path) -> None:
    image, mask, known = sample(), cells(), checkpoint()
    ids = np.unique(mask)[1:]
    types = pd.DataFrame({"cell_id": ids[:0:-1], "cell_type": "T", "area_um2": 0.0})
    types["cell_type_probability"] = np.linspace(0, 1, len(types))
    found = embed(
        image, mask, None, known, EmbedRequest(stride_px=100),
        tissue_id="r1", patient_id="p7", cell_table=types,
    )  # fmt: skip
    for name in ("t.h5ad", "t.zarr"):
        found.write(tmp_path / name)
    tables = [
        found.to_anndata(), anndata.read_h5ad(tmp_path / "t.h5ad"),
        anndata.read_zarr(tmp_path / "t.zarr"),
    ]  # fmt: skip
    for table in tables:
        assert table.shape == (len(ids), len(CHANNELS))
        assert table.obsm["X_virtues"].shape == (len(ids), 32)
        assert table.obsm["X_virtues"].dtype == table.X.dtype == np.float32
        np.testing.assert_array_equal(table.obsm["X_virtues"], np.asarray(found.tokens))
        inside = mask == ids[3]
        np.testing.assert_allclose(table.X[3], image.compute()[:, inside].mean(1), rtol=1e-6)
        y, x = np.argwhere(inside).mean(axis=0)
        np.testing.assert_allclose(table.obsm["spatial"][3], [2 * x, 0.5 * y])
        row = table.obs.iloc[3]
        assert (row["tissue_id"], row["cell_id"], row["patient_id"]) == ("r1", ids[3], "p7")
        assert row["area_um2"] == inside.sum()
        assert table.obs_names[3] == f"r1:{ids[3]}"
        assert row["cell_type"] == "T"
        assert row["cell_type_probability"] == types["cell_type_probability"].iloc[-3]
        assert table.obs.iloc[0][["cell_type", "cell_type_probability"]].isna().all()
        assert list(table.var_names) == list(CHANNELS)
        assert table.var["in_model"].tolist() == [True] * 4 + [False]
        assert table.var["accession"].tolist() == ["P07766", "P11836", "P34810", "", ""]
        assert table.var["key"].tolist() == ["P07766", "P11836", "P34810", "stain:dna", ""]
        said = table.uns["virtues"]
        assert list(said["panel"]) == table.var["key"].tolist()[:4]
        assert said["checkpoint_signature"] == checkpoint_signature(known)
        assert (said["level"], said["stride_px"], said["precision"]) == ("cell", 100, "float32")
        assert said["statistics"] == "the image itself"
        assert list(said["pixel_size_um"]) == [0.5, 2.0]
        assert said["versions"]["torch"] == torch.__version__


def test_a_table_on_disk_is_written_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask, known = cells(), checkpoint()
    expected = embed(sample(), mask, None, known).to_anndata()
    monkeypatch.setattr("virtues_core.infer.rows.IN_MEMORY_VALUES", 0)
    monkeypatch.setattr("virtues_core.infer.cells.IN_MEMORY_PX", 0)
    monkeypatch.setattr("virtues_core.infer.token_table._BLOCK_BYTES", 8 * 32 * 7)
    found = embed(sample(), da.from_array(mask, chunks=(50, 60)), None, known, in_memory=True)
    for name, read in (("t.h5ad", anndata.read_h5ad), ("t.zarr", anndata.read_zarr)):
        found.write(tmp_path / name)
        table = read(tmp_path / name)
        np.testing.assert_array_equal(table.obsm["X_virtues"], expected.obsm["X_virtues"])
        np.testing.assert_array_equal(table.X, expected.X)
        pd.testing.assert_frame_equal(table.obs, expected.obs, check_index_type=False)


def test_only_tiles_with_cells_are_computed() -> None:
    image = replace(image_of(counts(0, (400, 500))), pixel_size_um=None)
    mask = np.zeros((400, 500), np.int32)
    mask[395:399, 490:500] = 4
    seen: list[tuple[int, int]] = []
    found = embed(image, mask, None, checkpoint(), on_tile=lambda *done: seen.append(done))
    touched = [mask[y : y + 128, x : x + 128].any() for y, x in tile_origins((400, 500), stride=42)]
    assert found.tiles == sum(touched) < 10
    assert seen == [(i + 1, found.tiles) for i in range(found.tiles)]
    assert any("taken as 1 µm" in text for text in found.warnings)
    assert found.area_um2.tolist() == [40]


def test_niches_and_the_tissue() -> None:
    pixels = counts(0, (300, 400))
    pixels[:, :, 128:] = 0  # glass, but for a corner
    pixels[:, 128:256, 256:384][:, :80] = counts(1, (80, 128))
    image, known = image_of(pixels), checkpoint()
    found = embed(image, None, None, known, EmbedRequest(level="niche")).to_anndata()
    origins = found.obs[["y_px", "x_px"]].to_numpy()
    assert origins.tolist() == [[0, 0], [128, 0], [128, 256]]
    assert found.obs["niche_id"].tolist() == [0, 1, 2]
    assert found.obs["tissue_fraction"].iloc[2] == pytest.approx(80 / 128, abs=0.05)
    expected = summaries(image, known, origins)
    np.testing.assert_allclose(
        found.obsm["X_virtues"], [tokens.mean(axis=(0, 1)) for tokens in expected], atol=1e-5
    )
    np.testing.assert_allclose(found.X[2], pixels[:, 128:256, 256:384].mean(axis=(1, 2)))
    assert found.obsm["spatial"][2].tolist() == [319.5, 191.5]
    whole = embed(image, None, None, known, EmbedRequest(level="tissue")).to_anndata()
    assert whole.obs_names.tolist() == ["one"]
    np.testing.assert_allclose(whole.obsm["X_virtues"], [np.mean(expected, (0, 1, 2))], atol=1e-5)
    assert whole.uns["virtues"]["level"] == "tissue"
    later = embed(image, None, None, known, EmbedRequest(level="niche"), in_memory=False)
    np.testing.assert_allclose(np.asarray(later.tokens), found.obsm["X_virtues"], atol=1e-4)
    closer = embed(image, None, None, known, EmbedRequest(level="niche", stride_px=64))
    assert len(closer) > 3
    patches = embed(image, None, None, known, EmbedRequest(level="patch")).to_anndata()
    assert patches.obs["patch_id"].tolist() == list(range(3 * 256))
    np.testing.assert_allclose(
        patches.obsm["X_virtues"], np.concatenate([tokens.reshape(256, -1) for tokens in expected]),
        atol=1e-5,
    )  # fmt: skip
    row = patches[512 + 16 + 2]  # of the third tile, one down, two right
    y, x = row.obs[["y_px", "x_px"]].iloc[0]
    assert (y, x) == (128 + 8, 256 + 16)
    np.testing.assert_allclose(row.X[0], pixels[:, y : y + 8, x : x + 8].mean(axis=(1, 2)))
    assert row.obsm["spatial"][0].tolist() == [x + 3.5, y + 3.5]
    assert patches.uns["virtues"]["level"] == "patch"


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    known, mask = checkpoint(), cells()
    with pytest.raises(InputError, match="expected a mask of the cells, found none"):
        embed(sample(), None, None, known)
    with pytest.raises(InputError, match=r"found \(140, 149\)"):
        embed(sample(), mask[:, :149], None, known)
    with pytest.raises(InputError, match="found only background"):
        embed(sample(), 0 * mask, None, known)
    with pytest.raises(InputError, match="found 129"):
        EmbedRequest(stride_px=129)
    with pytest.raises(InputError, match="1 or more, found 0"):
        EmbedRequest(batch_size=0)
    with pytest.raises(InputError, match="among cell, niche, patch, tissue, found 'pixel'"):
        EmbedRequest(level="pixel")
    spot = np.zeros((5, 300, 300), np.uint16)
    spot[:, 200:230, 200:230] = 9
    with pytest.raises(InputError, match="30% tissue or more in 'one', found"):
        embed(image_of(spot), None, None, known, EmbedRequest(level="niche"))
    for table, said in (
        (pd.DataFrame({"cell": [1]}), "expected a column cell_id"),
        (pd.DataFrame({"cell_id": [2, 2]}), "several for cell 2"),
        (pd.DataFrame({"cell_id": [99999]}), "none of its"),
        (pd.DataFrame({"cell_id": [2], "tissue_id": ["other"]}), "none of its"),
    ):
        with pytest.raises(InputError, match=said):
            embed(sample(), mask, None, known, cell_table=table, cache=tmp_path / "c")
        assert not (tmp_path / "c").exists()  # found before any tile is computed
    with pytest.raises(InputError, match=r"ends with \.h5ad or \.zarr"):
        embed(sample(), mask, None, known).write(tmp_path / "x.csv")
    with pytest.raises(Cancelled):
        embed(sample(), mask, None, known, cancelled=lambda: True)


class Counted:
    """Counts the tiles that go through the model."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tiles = 0
        each = Runner.each

        def counted(runner, tiles, *rest):
            self.tiles += len(tiles)
            return each(runner, tiles, *rest)

        monkeypatch.setattr(Runner, "each", counted)

    def take(self) -> int:
        count, self.tiles = self.tiles, 0
        return count


def test_stored_tokens_are_used_only_for_the_very_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask, known, count = cells(), checkpoint(), Counted(monkeypatch)

    def run(image=None, panel_of=None, ckpt=known, **request):
        used = sample() if image is None else image
        found = embed(used, mask, panel_of, ckpt, EmbedRequest(**request), cache=tmp_path / "c")
        fresh = embed(used, mask, panel_of, ckpt, EmbedRequest(**request))
        np.testing.assert_allclose(np.asarray(found.tokens), np.asarray(fresh.tokens), atol=1e-6)
        return found.stored_tiles, count.take() - fresh.tiles

    total = len(tile_origins(SHAPE, stride=42))
    assert run() == (0, total)
    assert run() == (total, 0)
    assert run(batch_size=3) == (total, 0)
    assert run(stride_px=100) == (total, 0)  # the same tiles: 0 and the last that fits
    pixels = counts(0)
    pixels[0, 139, 149] += 1
    assert run(replace(sample(), pixels=da.from_array(pixels)))[0] < total
    assert run()[0] < total  # and back again
    assert run(sample().select([0, 1, 3])) == (0, total)
    other = checkpoint()
    with torch.no_grad():
        other.model.encoder.summary_token += 1e-3
    assert run(ckpt=other) == (0, total)
    half = checkpoint()
    half.model.to(torch.bfloat16)
    assert run(ckpt=half) == (0, total)
    assert run() == (total, 0)


def test_damaged_files_are_computed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask, known, count = cells(), checkpoint(), Counted(monkeypatch)
    expected = embed(sample(), mask, None, known, cache=tmp_path).to_anndata()
    files = sorted(tmp_path.rglob("*.tokens"))
    assert len(files) == count.take() == 4
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    files[1].write_bytes(files[1].read_bytes()[:-500])
    files[2].write_bytes(b"")
    found = embed(sample(), mask, None, known, cache=tmp_path)
    assert (found.stored_tiles, count.take()) == (1, 3)
    assert any("3 stored tiles were damaged" in text for text in found.warnings)
    np.testing.assert_allclose(np.asarray(found.tokens), expected.obsm["X_virtues"], rtol=1e-3)
    assert len(files[0].read_bytes()) == len(whole)
    again = embed(sample(), mask, None, known, cache=tmp_path)
    assert (again.stored_tiles, again.warnings[1:]) == (4, ())


def test_a_place_that_cannot_be_written_only_costs_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = embed(sample(), cells(), None, checkpoint(), cache=tmp_path / "file" / "cache")
    assert any("no longer stored" in text and "could not write" in text for text in found.warnings)
    expected = embed(sample(), cells(), None, checkpoint())
    np.testing.assert_array_equal(np.asarray(found.tokens), np.asarray(expected.tokens))


def test_a_full_disk_only_costs_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes
    monkeypatch.setattr(
        Path, "write_bytes",
        lambda path, data: write(Path("/dev/full") if path.suffix == ".tokens" else path, data),
    )  # fmt: skip
    found = embed(sample(), cells(), None, checkpoint(), cache=tmp_path)
    assert any("No space left" in text for text in found.warnings)
    assert not list(tmp_path.rglob("*.tokens"))
    assert np.isfinite(np.asarray(found.tokens)).all()


def test_room_is_left_for_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtues_core.infer.cache.RESERVE_BYTES", 2**80)
    found = embed(sample(), cells(), None, checkpoint(), cache=tmp_path / "cache")
    assert any("left for the result" in text for text in found.warnings)
    assert not list(tmp_path.iterdir())


CHILD = """
import sys
sys.path[:0] = {paths!r}
from test_infer_embed import *
from virtues_core.infer.embedding import embed
def told(done, total):
    print(done, total, flush=True)
    if done == 9:
        import time
        time.sleep(60)
embed(large(), large_cells(), None, checkpoint(), EmbedRequest(batch_size=2),
      cache=Path({folder!r}), on_tile=told)
"""


def large() -> MultiplexImage:
    return image_of(counts(3, (260, 270)))


def large_cells() -> np.ndarray:
    return labels((260, 270), 90, 3)


def test_a_run_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = str(Path(__file__).parent)
    code = CHILD.format(paths=[here], folder=str(tmp_path / "cache"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        done = 0
        while done < 9:
            line = child.stdout.readline()
            assert line, "the child ended on its own"
            done = int(line.split()[0])
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    count = Counted(monkeypatch)
    found = embed(large(), large_cells(), None, checkpoint(), cache=tmp_path / "cache")
    assert found.tiles == len(tile_origins((260, 270), stride=42))
    assert found.stored_tiles >= 9
    assert count.take() == found.tiles - found.stored_tiles
    expected = embed(large(), large_cells(), None, checkpoint())
    np.testing.assert_allclose(
        np.asarray(found.tokens), np.asarray(expected.tokens), rtol=1e-4, atol=1e-5
    )


def test_names_that_repeat_are_told_apart() -> None:
    image = replace(sample(), channels=(*USED, "CD3_Er170"))
    found = embed(image, cells(), None, checkpoint()).to_anndata()
    assert found.var_names.tolist() == [*USED, "CD3_Er170-1"]
    assert found.var["in_model"].tolist() == [True] * 4 + [False]
    assert json.dumps(list(found.uns["virtues"]["panel"]))


WRITE = """
import re, sys
from pathlib import Path
import numpy as np
import pandas as pd
from virtues_core.infer.rows import RowMeans
from virtues_core.infer.token_table import Embedding

def mib(line):
    return int(re.search(line + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

def table(count):
    tokens, bright = (RowMeans(count, width, on_disk=True) for width in (256, 2))
    for start in range(0, count, 1000):
        rows = np.arange(start, start + 1000)
        for means in (tokens, bright):
            means.add(rows, np.ones((1000, means.shape[1])), np.ones(1000))
    ids = np.arange(1, count + 1)
    var = pd.DataFrame(index=["a", "b"])
    return Embedding("cell", ("cell_id", "t"), ids, tokens, bright, np.ones((count, 2)),
                     np.ones(count), var, {})

table(1000).write(sys.argv[1])  # imports
large = table(100_000)
Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
before = mib("VmRSS")
large.write(sys.argv[1])
print(mib("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_table_of_100_mb_is_written_without_being_held(tmp_path: Path) -> None:
    out = tmp_path / "t.h5ad"
    ran = subprocess.run(
        [sys.executable, "-c", WRITE, str(out)], capture_output=True, text=True, check=True
    )
    assert anndata.read_h5ad(out, backed="r").obsm["X_virtues"].nbytes == 4 * 256 * 100_000
    assert float(ran.stdout) < 90  # MiB
