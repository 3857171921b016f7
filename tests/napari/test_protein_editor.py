"""What a person says a channel measures."""

import pytest

from napari_virtues._widgets.protein_editor import ProteinEditor, looked_up
from virtues_core.errors import MarkerError
from virtues_core.markers import DNA_KEY, Panel, Registry


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


@pytest.fixture
def edit(qtbot, registry):
    def make(name):
        editor = ProteinEditor(Panel.from_names([name]), 0, registry)
        qtbot.addWidget(editor)
        return editor

    return make


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("MS4A1", ("P11836", "MS4A1")),
        ("ms4a1", ("P11836", "MS4A1")),
        ("CD20", ("P11836", "MS4A1")),
        ("P11836", ("P11836", "MS4A1")),
        ("MS4A1 · P11836 · CD20, L26", ("P11836", "MS4A1")),
        ("12345", None),
        ("A0A024R161", ("A0A024R161", "")),
    ],
)
def test_what_was_typed_is_found(registry, typed, found):
    if found is None:
        with pytest.raises(MarkerError, match="found '12345'"):
            looked_up(typed, registry)
    else:
        assert looked_up(typed, registry) == found


def test_a_near_miss_is_suggested_not_taken(edit):
    editor = edit("CD8x")
    names = [button.text() for button in editor.suggestions]
    assert names
    assert editor.protein.text() == ""
    editor.suggestions[0].click()
    assert editor.result_panel().entries[0].symbol == names[0]


@pytest.mark.parametrize(
    ("choice", "status", "key"),
    [("dna", "stain", DNA_KEY), ("background", "background", None), ("review", "review", None)],
)
def test_what_is_no_protein(edit, choice, status, key):
    editor = edit("xyzzy")
    editor.choices[choice].setChecked(True)
    entry = editor.result_panel().entries[0]
    assert (entry.status, entry.key, entry.source) == (status, key, "user")


def test_a_stain_needs_a_name(edit):
    editor = edit("xyzzy")
    editor.choices["stain"].setChecked(True)
    editor.accept()
    assert editor.result() == 0
    assert "expected the stain's name" in editor.problem.text()
    editor.stain.setText("eosin")
    editor.accept()
    assert editor.result() == 1
    assert editor.result_panel().entries[0].symbol == "eosin"


def test_an_unknown_protein_keeps_the_dialog_open(edit):
    editor = edit("xyzzy")
    editor.protein.setText("nonsense protein")
    editor.accept()
    assert editor.result() == 0
    assert "found 'nonsense protein'" in editor.problem.text()


def test_a_known_channel_begins_with_what_is_known(edit):
    assert edit("CD20").protein.text() == "MS4A1 · P11836"
    assert edit("DAPI").choices["dna"].isChecked()
    assert edit("131Xe").choices["background"].isChecked()
