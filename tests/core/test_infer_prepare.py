import dataclasses

import numpy as np
import pytest
from infer_samples import CHANNELS, USED, checkpoint, cohort, counts, image_of

from virtues_core.errors import InputError, MarkerError
from virtues_core.infer import prepare_image
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.preprocess import Statistics


def test_markers_are_kept_and_background_is_named() -> None:
    image = cohort(1)[0]
    prepared = prepare_image(image, Panel.from_names(CHANNELS), checkpoint())
    assert prepared.channels == USED
    assert prepared.keys == ("P07766", "P11836", "P34810", "stain:dna")
    assert prepared.embeddings.shape == (4, 640)
    assert prepared.pixels.shape == (4, 140, 150)
    assert prepared.pixels.dtype == np.float32
    assert any("131Xe_Xe131 (background" in text for text in prepared.warnings)
    inside = prepared.pixels[:, prepared.tissue]
    np.testing.assert_allclose(inside.mean(1), 0, atol=1e-3)  # the image's own statistics
    np.testing.assert_allclose(inside.std(1), 1, atol=1e-3)
    assert prepared.statistics_from == "the image itself"


def test_statistics_of_the_dataset_that_has_all_channels() -> None:
    image = cohort(1)[0]
    part = Statistics("part", USED[:2], (None,) * 2, np.zeros(2, "f4"), np.ones(2, "f4"))
    mean, std = np.arange(5, dtype="f4"), np.full(5, 2, "f4")
    whole = Statistics("whole", (*USED[::-1], "CD4"), (None,) * 5, mean, std)
    prepared = prepare_image(image, None, checkpoint(statistics=(part, whole)))
    assert prepared.statistics_from == "whole"
    assert prepared.mean.tolist() == [3, 2, 1, 0]  # by name, not by position
    np.testing.assert_allclose(prepared.floor, -prepared.mean / 2)


def test_a_key_without_embedding_is_left_out_and_named() -> None:
    known = checkpoint().embeddings
    real = MarkerEmbeddings(dict(known.select(known.keys()[:3]).vectors))  # not stand-ins
    prepared = prepare_image(cohort(1)[0], None, checkpoint(embeddings=real))
    assert prepared.channels == USED[:3]
    assert any("DNA1_Ir191 (no embedding for stain:dna" in text for text in prepared.warnings)
    with pytest.raises(MarkerError, match=r"'DNA1_Ir191' cannot be inpainted: no embedding"):
        prepare_image(cohort(1)[0], None, checkpoint(embeddings=real), required=["DNA1_Ir191"])


def test_stand_ins_are_made_where_the_model_knows_nothing_else() -> None:
    few = MarkerEmbeddings.stand_in(["P07766"])
    prepared = prepare_image(cohort(1)[0], None, checkpoint(embeddings=few))
    assert prepared.channels == USED
    expected = MarkerEmbeddings.stand_in(prepared.keys).stack(prepared.keys)
    np.testing.assert_array_equal(prepared.embeddings, expected)


def test_a_panel_in_another_order_and_with_a_channel_switched_off() -> None:
    entries = Panel.from_names(CHANNELS[::-1]).entries
    entries = tuple(
        dataclasses.replace(e, keep=False) if e.name == "CD3_Er170" else e for e in entries
    )
    prepared = prepare_image(cohort(1)[0], Panel(entries), checkpoint())
    assert prepared.channels == USED[1:]
    assert prepared.keys[0] == "P11836"
    with pytest.raises(MarkerError, match="does not name the channels CD3_Er170"):
        prepare_image(cohort(1)[0], Panel(entries[:2]), checkpoint())


def test_wrong_names_are_refused_with_what_is_near() -> None:
    with pytest.raises(MarkerError, match=r"no channel named 'CD20'.*Did you mean CD20_Dy161"):
        prepare_image(cohort(1)[0], None, checkpoint(), required=["CD20"])
    with pytest.raises(MarkerError, match="'131Xe_Xe131' cannot be inpainted: background"):
        prepare_image(cohort(1)[0], None, checkpoint(), required=["131Xe_Xe131"])


def test_bad_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"at least 128 × 128 px, found 100 × 150"):
        prepare_image(image_of(counts(0, (100, 150))), None, checkpoint())
    with pytest.raises(InputError, match=r"at least two channels.*found 1 \(CD3_Er170\)"):
        prepare_image(image_of(counts(0)[:1], CHANNELS[:1]), None, checkpoint())
    with pytest.raises(InputError, match="background, not a marker"):
        prepare_image(image_of(counts(0)[[0, 4]], (CHANNELS[0], CHANNELS[4])), None, checkpoint())
    broken = counts(0).astype(np.float32)
    broken[1, 5, 5] = np.nan
    with pytest.raises(InputError, match="'CD20_Dy161' has 1 pixels that are NaN"):
        prepare_image(image_of(broken), None, checkpoint())


def test_an_empty_channel_and_a_doubled_name_are_said() -> None:
    pixels = counts(0)
    pixels[1] = 0
    prepared = prepare_image(image_of(pixels), None, checkpoint())
    assert any(text.startswith("no signal in CD20_Dy161") for text in prepared.warnings)
    assert np.isfinite(prepared.pixels).all()
    doubled = ("CD3_Er170", "CD20_Dy161", "CD3_Er170", "DNA1_Ir191", "131Xe_Xe131")
    prepared = prepare_image(image_of(counts(0), doubled), None, checkpoint())
    assert prepared.channels == ("CD3_Er170", "CD20_Dy161", "DNA1_Ir191")
    assert any("second channel of the same name" in text for text in prepared.warnings)
