"""Parts of the Train dock that need no engine: fields of a config, recipes as files, words."""

import dataclasses
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_virtues._widgets import training_runs
from napari_virtues._widgets.config_fields import (
    ConfigFields,
    field_docs,
    in_words,
    one_line,
    value_of,
)
from napari_virtues.job_files import JobLine
from virtues_core.errors import ConfigError
from virtues_core.jobs import Job
from virtues_core.train import TrainConfig
from virtues_core.train.recipes import FINE_TUNING, RECIPES

JOB = Job("mine", Path("/runs/mine"))


def test_the_window_knows_recipes_and_jobs_without_pytorch():
    code = (
        "import sys, napari_virtues.docks.train, virtues_core.train.recipes; "
        "sys.exit(any(m.split('.')[0] in ('torch', 'lightning') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("config", [*RECIPES.values(), FINE_TUNING], ids=[*RECIPES, "tuning"])
def test_fields_give_back_the_config_that_they_show(qtbot, config):
    widget = ConfigFields(TrainConfig())
    qtbot.addWidget(widget)
    widget.show_config(config)
    assert TrainConfig.from_dict(widget.values) == config


def test_each_field_of_the_class_is_there_with_its_docstring(qtbot):
    widget = ConfigFields(TrainConfig())
    qtbot.addWidget(widget)
    docs = field_docs(TrainConfig)
    for name in (f.name for f in dataclasses.fields(TrainConfig)):
        assert docs[name]
        if name not in widget.sections:
            assert widget.editor(name).toolTip() == one_line(docs[name])
    assert "Width of a token" in widget.editor("model.model_dim").toolTip()
    assert isinstance(widget.editor("precision"), QComboBox)


def test_two_widgets_share_a_config(qtbot):
    first = ConfigFields(TrainConfig(), only=("batch_size",))
    rest = ConfigFields(TrainConfig(), without=("batch_size",))
    for widget in (first, rest):
        qtbot.addWidget(widget)
    assert set(first.values) == {"batch_size"}
    assert TrainConfig.from_dict(rest.values | first.values) == TrainConfig()


def typed(qtbot, widget, name, text):
    line = widget.editor(name)
    line.selectAll()
    qtbot.keyClicks(line, text)
    qtbot.keyClick(line, Qt.Key.Key_Return)


def test_what_is_typed_becomes_a_value_and_is_told_once(qtbot):
    widget = ConfigFields(TrainConfig())
    qtbot.addWidget(widget)
    told = []
    widget.changed.connect(lambda: told.append(1))
    typed(qtbot, widget, "learning_rate", "3e-4")
    typed(qtbot, widget, "masking.ratio", "0.5, 0.75")
    typed(qtbot, widget, "model.encoder_pattern", "hv")
    assert len(told) == 3
    config = TrainConfig.from_dict(widget.values)
    assert config.learning_rate == 3e-4
    assert config.masking.ratio == (0.5, 0.75)
    assert config.model.encoder_pattern == "hv"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("batch_size", "-3", "batch_size: expected a whole number"),
        ("batch_size", "many", "batch_size: expected a whole number"),
        ("batch_size", " ", "batch_size: expected a value, found nothing"),
        ("batch_size", "8.5", "batch_size: expected a whole number"),
        ("min_tissue", "nan", "min_tissue: expected a fraction"),
        ("masking.ratio", "0.5; 1", "ratio: expected numbers with commas"),
        ("masking.ratio", "0.5", "masking.ratio: expected"),
        ("model.encoder_pattern", "xyz", "encoder_pattern: expected"),
        ("max_minutes", "0", "max_minutes: expected a number above 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(qtbot, name, text, message):
    widget = ConfigFields(TrainConfig())
    qtbot.addWidget(widget)
    typed(qtbot, widget, name, text)
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict(widget.values)


@dataclass(frozen=True)
class Every:
    """One field of each kind."""

    count: int = 3
    """How many."""
    kind: Literal["a", "b"] = "b"
    limit: int | None = None
    fast: bool = False
    """Whether it is quick,
    on two lines."""
    weights: dict[str, float] = field(default_factory=lambda: {"x": 0.5})
    name: str = "12"


def test_every_kind_of_field(qtbot):
    assert field_docs(Every)["count"] == "How many."
    widget = ConfigFields(Every())
    qtbot.addWidget(widget)
    assert Every(**widget.values) == Every()
    widget.editor("fast").click()
    assert widget.values["fast"] is True
    assert widget.editor("fast").toolTip() == "Whether it is quick, on two lines."


def test_words_and_values():
    assert (in_words("crop_px"), in_words("batch_size")) == ("Crop (px)", "Batch size")
    assert value_of("", int | None, "steps") is None
    assert value_of("auto", int | str, "micro") == "auto"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (JobLine(JOB, "stopped", message="stopped; resume goes on"), "stopped; resume goes on"),
        (JobLine(JOB, "waiting", message="waits for cuda:0"), "waiting · 0 % · waits for cuda:0"),
        (JobLine(JOB, "running", progress=0.25, seconds_left=600), "running · 25 % · 10 min left"),
        (JobLine(JOB, "finished", progress=1.0, message="5 steps"), "finished"),
        (JobLine(JOB, "lost"), "lost"),
    ],
)
def test_how_a_training_stands_in_words(line, said):
    assert training_runs.in_words(line) == said
