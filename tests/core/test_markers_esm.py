"""Embeddings by a small ESM-2, with the real code."""

import numpy as np
import pytest
import torch

from virtues_core.errors import CheckpointError, MarkerError
from virtues_core.markers import MarkerEmbeddings
from virtues_core.markers.esm import embed_sequences, windows

VOCABULARY = (
    "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
)


def save_small_esm(folder, seed=0):
    """Write an ESM-2 of 8 values and 2 layers, as the hub keeps the real one."""
    from transformers import EsmConfig, EsmModel

    words = VOCABULARY.split()
    config = EsmConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        position_embedding_type="rotary",
        pad_token_id=1,
        mask_token_id=32,
        token_dropout=True,
        emb_layer_norm_before=False,
    )
    torch.manual_seed(seed)
    model = EsmModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words))
    return model


@pytest.fixture(scope="module")
def small_esm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small_esm")
    return folder, save_small_esm(folder)


def _by_hand(model, sequence):
    """Mean of the last layer over residues, from token numbers written out here."""
    words = VOCABULARY.split()
    tokens = torch.tensor([[0, *(words.index(residue) for residue in sequence), 2]])
    with torch.inference_mode():
        states = model(tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
    return states[0, 1:-1].mean(0).numpy()


def test_mean_over_residues_without_special_tokens(small_esm, tmp_path):
    folder, model = small_esm
    sequences = {"P01732": "MALPVTALLL", "P01730": "MNRGVPFRHLLLVLQLALLPAATQGKKVVLG"}
    made = embed_sequences(sequences, model=str(folder), cache=tmp_path)
    assert made.keys() == ("P01732", "P01730")
    assert (made.dim, made.stand_ins) == (8, frozenset())
    for key, sequence in sequences.items():
        np.testing.assert_allclose(made[key], _by_hand(model, sequence), atol=1e-5)


def test_a_long_sequence_goes_through_whole_or_in_windows(small_esm, tmp_path):
    folder, model = small_esm
    rng = np.random.default_rng(0)
    sequence = "".join(rng.choice(list("LAGVSERTIDPKQNFYMHWC"), 101))
    whole = embed_sequences({"X": sequence}, model=str(folder), cache=tmp_path)
    np.testing.assert_allclose(whole["X"], _by_hand(model, sequence), atol=1e-5)
    cut = embed_sequences({"X": sequence}, model=str(folder), cache=tmp_path, max_residues=40)
    pieces = [sequence[:34], sequence[34:68], sequence[68:]]
    expected = sum(len(p) * _by_hand(model, p) for p in pieces) / 101
    np.testing.assert_allclose(cut["X"], expected, atol=1e-5)
    assert not np.allclose(cut["X"], whole["X"], atol=1e-4)  # and is not confused in the cache


@pytest.mark.parametrize("length", [1, 39, 40, 41, 80, 101, 1000])
def test_windows_cover_a_sequence_once(length):
    cut = windows(length, 40)
    assert [i for start, end in cut for i in range(start, end)] == list(range(length))
    sizes = [end - start for start, end in cut]
    assert max(sizes) <= 40
    assert max(sizes) - min(sizes) <= 1


def test_an_embedding_is_computed_once(small_esm, tmp_path, monkeypatch):
    from transformers import EsmModel

    folder, _ = small_esm
    told = []
    first = embed_sequences({"A": "MALPVT"}, model=str(folder), cache=tmp_path)

    def refuse(*_, **__):
        message = "the model was loaded although everything is kept"
        raise AssertionError(message)

    monkeypatch.setattr(EsmModel, "from_pretrained", refuse)
    again = embed_sequences(
        {"B": "malpvt"},  # the same protein under another name
        model=str(folder),
        cache=tmp_path,
        on_done=lambda *what: told.append(what),
    )
    assert np.array_equal(first["A"], again["B"])
    assert told == [("B", 1, 1)]


def test_other_weights_are_not_served_from_the_cache(tmp_path):
    made = []
    for seed in (0, 1):
        folder = tmp_path / f"model{seed}" / "esm"
        folder.mkdir(parents=True)
        save_small_esm(folder, seed)
        made.append(embed_sequences({"A": "MALPVT"}, model=str(folder), cache=tmp_path / "c"))
    assert not np.allclose(made[0]["A"], made[1]["A"])


def test_bad_models_and_sequences_are_explained(small_esm, tmp_path, monkeypatch):
    folder, model = small_esm
    with pytest.raises(MarkerError, match="sequence of 'A' holds '4'"):
        embed_sequences({"A": "MA4"}, model=str(folder), cache=tmp_path)
    with pytest.raises(MarkerError, match="max_residues must be 1 or more, found 0"):
        embed_sequences({"A": "MA"}, model=str(folder), cache=tmp_path, max_residues=0)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    save_small_esm(pickled)
    (pickled / "model.safetensors").unlink()
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="no safetensors weights in"):
        embed_sequences({"A": "MA"}, model=str(pickled), cache=tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MarkerError, match="could not load the protein model 'nobody/esm'"):
        embed_sequences({"A": "MA"}, model="nobody/esm", cache=tmp_path)


def test_a_damaged_copy_in_the_cache_is_made_again(small_esm, tmp_path):
    folder, _ = small_esm
    first = embed_sequences({"A": "MALPVT"}, model=str(folder), cache=tmp_path)
    (kept,) = tmp_path.rglob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:20])
    again = embed_sequences({"A": "MALPVT"}, model=str(folder), cache=tmp_path)
    np.testing.assert_allclose(first["A"], again["A"], atol=1e-6)
    assert isinstance(again, MarkerEmbeddings)
