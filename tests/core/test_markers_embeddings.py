"""Embedding vectors: files, folders, stand-ins."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from virtues_core.errors import CheckpointError, MarkerError, VirtuesError
from virtues_core.markers import MarkerEmbeddings


def _some(*keys, dim=4, seed=0):
    rng = np.random.default_rng(seed)
    return MarkerEmbeddings({k: rng.standard_normal(dim).astype(np.float32) for k in keys})


def test_real_embeddings_cover_the_published_panel(shared_data):
    file = shared_data / "markers" / "esm2_t30_150M_UR50D_40_proteins.safetensors"
    embeddings = MarkerEmbeddings.load(file)
    assert (len(embeddings), embeddings.dim) == (40, 640)
    assert "P08575-8" in embeddings
    assert "P08575" not in embeddings
    assert not embeddings.stand_ins
    rows = embeddings.stack(["P01732", "P01730", "P01732"])
    assert (rows.shape, rows.dtype) == ((3, 640), np.float32)
    assert np.array_equal(rows[0], rows[2])
    # a stand-in is spread about as widely as a real vector
    spread = np.std(embeddings.stack(embeddings.keys()))
    assert 0.5 < np.std(MarkerEmbeddings.stand_in(["P01732"])["P01732"]) / spread < 2


def test_missing_markers_are_all_named():
    with pytest.raises(MarkerError, match="no embedding for B, C among the 1 markers"):
        _some("A").stack(["A", "B", "C", "B"])
    assert _some("A").stack([]).shape == (0, 4)


def test_save_and_load_keep_vectors_and_stand_ins(tmp_path):
    made = _some("P01732", "P01730").merge(MarkerEmbeddings.stand_in(["stain:dna"], dim=4))
    made.save(tmp_path / "markers.safetensors")
    for source in (tmp_path / "markers.safetensors", tmp_path):  # the file, or its folder
        again = MarkerEmbeddings.load(source)
        assert set(again) == {"P01732", "P01730", "stain:dna"}
        assert again.stand_ins == {"stain:dna"}
        assert np.array_equal(again.stack(made.keys()), made.stack(made.keys()))


def test_stand_ins_are_the_same_everywhere_and_differ_between_markers():
    made = MarkerEmbeddings.stand_in(["P01732", "P01730"])
    again = MarkerEmbeddings.stand_in(["P01730"])
    assert np.array_equal(made["P01730"], again["P01730"])
    assert abs(np.corrcoef(made.stack(["P01730", "P01732"]))[0, 1]) < 0.2
    assert made.stand_ins == {"P01730", "P01732"}
    # what files already hold depends on these numbers
    assert made["P01732"][:3] == pytest.approx([0.2680355, 0.0942382, -0.1025889], abs=1e-6)


def test_merge_keeps_the_first_but_prefers_real_vectors():
    real = _some("A", "B")
    drawn = MarkerEmbeddings.stand_in(["B", "C"], dim=4)
    for merged in (real.merge(drawn), drawn.merge(real)):
        assert set(merged) == {"A", "B", "C"}
        assert merged.stand_ins == {"C"}
        assert np.array_equal(merged["B"], real["B"])
    other = _some("A", seed=1)
    assert np.array_equal(real.merge(other)["A"], real["A"])
    with pytest.raises(MarkerError, match=r"found lengths 4 .*, 5 "):
        real.merge(_some("D", dim=5))


def test_select_takes_a_part_in_order():
    part = _some("A", "B", "C").merge(MarkerEmbeddings.stand_in(["D"], dim=4)).select(["D", "A"])
    assert part.keys() == ("D", "A")
    assert part.stand_ins == {"D"}


def test_a_folder_of_pt_files_opens_weights_only(tmp_path):
    torch.save(torch.arange(4.0), tmp_path / "P01732.pt")
    layers = {29: torch.zeros(4), 30: torch.ones(4)}
    torch.save({"label": "x", "mean_representations": layers}, tmp_path / "P01730.pt")
    torch.save(torch.arange(4.0).to(torch.bfloat16), tmp_path / "P08575-8.pt")
    embeddings = MarkerEmbeddings.load(tmp_path)
    assert embeddings.keys() == ("P01730", "P01732", "P08575-8")
    assert embeddings.stack(["P01732", "P01730"]).tolist() == [[0, 1, 2, 3], [1, 1, 1, 1]]


class _Trap:
    def __reduce__(self):
        return (open, (_Trap.path, "w"))


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_pickle_is_refused_and_does_not_run(tmp_path, protocol):
    _Trap.path = str(tmp_path / "it-ran")
    folder = tmp_path / "vectors"
    folder.mkdir()
    if protocol == "torch":
        torch.save(_Trap(), folder / "P01732.pt")
    else:
        (folder / "P01732.pt").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(CheckpointError, match=r"'P01732.pt' does not open as plain weights"):
        MarkerEmbeddings.load(folder)
    (tmp_path / "markers.pkl").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(CheckpointError, match=r"expected .*safetensors.* found 'markers.pkl'"):
        MarkerEmbeddings.load(tmp_path / "markers.pkl")
    assert not (tmp_path / "it-ran").exists()


def test_bad_sources_are_explained(tmp_path):
    with pytest.raises(MarkerError, match="no marker embeddings at"):
        MarkerEmbeddings.load(tmp_path / "none.safetensors")
    with pytest.raises(MarkerError, match="no marker embeddings in the folder"):
        MarkerEmbeddings.load(tmp_path)
    _some("A").save(tmp_path / "good.safetensors")
    data = (tmp_path / "good.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(data[:-3])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        MarkerEmbeddings.load(tmp_path / "short.safetensors")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(2, 4), r"embedding of A must be one row .* \(2, 4\)"),
        (torch.tensor([1.0, float("nan")]), "embedding of A has NaN"),
        (torch.zeros(0), "must be one row"),
    ],
)
def test_bad_vectors_are_refused(tmp_path, tensor, message):
    save_file({"A": tensor}, tmp_path / "bad.safetensors")
    with pytest.raises(MarkerError, match=message):
        MarkerEmbeddings.load(tmp_path / "bad.safetensors")


def test_vectors_cannot_be_changed_from_outside():
    source = np.ones(4, np.float32)
    made = MarkerEmbeddings({"A": source})
    source[0] = 7
    assert made["A"].tolist() == [1, 1, 1, 1]


@pytest.fixture
def full_disk():
    """No file can grow beyond a kilobyte, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource", reason="file size limits are a POSIX feature")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_good_file_alone(tmp_path, full_disk):
    path = tmp_path / "markers.safetensors"
    _some("A").save(path)
    good = path.read_bytes()
    full_disk()
    with pytest.raises(VirtuesError, match=r"could not write 'markers.safetensors'.*free some"):
        MarkerEmbeddings.stand_in(["A", "B"]).save(path)
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(VirtuesError, match="could not write"):
        _some("A").save(blocker / "markers.safetensors")
