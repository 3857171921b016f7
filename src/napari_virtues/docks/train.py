"""The *Train* dock: choose data and a recipe, see what would go wrong, start, and watch."""

import dataclasses
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.notify import telling
from napari_virtues._widgets.reconstruction_view import ReconstructionView
from napari_virtues._widgets.train_form import RUNS, TrainForm
from napari_virtues.engine import CheckTrainingJob, TrainingCheck
from napari_virtues.state import AppState, unwrapped
from napari_virtues.train_intent import (
    SCRATCH,
    TrainIntent,
    recipe_of,
    start_training,
    training_command,
)
from virtues_core.errors import InputError, VirtuesError
from virtues_core.jobs import Job, SlurmOptions
from virtues_core.train import TrainConfig
from virtues_core.train.recipes import FINE_TUNING, RECIPES

START, ANYWAY = "Start training", "Start anyway"
SHORT = 160
"""Characters of a warning in sight; all of it is its tool tip."""


class TrainDock(TrainForm):
    """Has the engine check a training, and starts it as a job that outlives the window."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        self.viewer = unwrapped(napari_viewer)
        self.bridge = EngineBridge.of(self.viewer)
        super().__init__(self.bridge)
        self.state = AppState.of(self.viewer)
        self.engine = self.bridge.engine
        self.view = ReconstructionView(self.viewer, self.trainings)
        self.checked: tuple[TrainIntent, TrainingCheck] | None = None
        """What the engine looked at last, and what it found."""
        self.job: Job | None = None
        """The training that was started last."""
        self._connect()
        self._on_start_from()

    def showEvent(self, event: Any) -> None:
        """Start the engine ahead of the first check, to know its devices."""
        super().showEvent(event)
        self.engine.start()

    @property
    def paths(self) -> tuple[Path, ...]:
        """What to train on."""
        return self.data.paths

    @property
    def intent(self) -> TrainIntent:
        """What is chosen.

        Raises
        ------
        InputError, ConfigError
            What is missing or out of range.
        """
        if not self.paths:
            message = "nothing to train on; add images, or a spora folder, then go on"
            raise InputError(message)
        executor, device = str(self.executor_box.currentData()), self.model.device
        slurm = SlurmOptions(**self.slurm.values)
        embeddings = self.embeddings_line.text().strip()
        intent = TrainIntent(
            paths=self.paths,
            checkpoint=self.model.checkpoint,
            config=recipe_of(self.config, device, executor, slurm),
            device=device,
            executor=executor,
            slurm=slurm,
            name=self.name_line.text().strip(),
            embeddings=Path(embeddings) if embeddings else None,
        )
        _ = intent.spora  # refuses both kinds
        return intent

    @property
    def config(self) -> TrainConfig:
        """The recipe as it is shown.

        Raises
        ------
        ConfigError
            A value is out of its range.
        """
        return TrainConfig.from_dict(self.advanced.values | self.settings.values)

    @property
    def command(self) -> str:
        """The command that does what was started last.

        Raises
        ------
        InputError
            Nothing was started yet.
        """
        if self.job is None:
            message = f"nothing was started yet; press {START!r} first"
            raise InputError(message)
        return training_command(self.job)

    def add(self, paths: list[str]) -> None:
        """Add images or folders to train on."""
        self.data.add(paths)
        self._on_changed()

    def choose_recipe(self, name: str) -> None:
        """Show the numbers of a recipe."""
        config = FINE_TUNING if self.model.checkpoint != SCRATCH else RECIPES[name]
        for part in (self.settings, self.advanced):
            part.show_config(config)
        self._on_changed()

    def check(self) -> None:
        """Have the engine look at data and recipe, without starting."""
        self._look(start=False)

    def start(self) -> None:
        """Start the training; what would go wrong is shown first."""
        self._look(start=True)

    def use(self, checkpoint: str) -> None:
        """Choose a checkpoint in all docks."""
        self.state.checkpoint = checkpoint
        self.trainings.message.say(
            f"{Path(checkpoint).name}: chosen in the docks that run a model.", "note"
        )

    # from a choice to a job

    def _look(self, *, start: bool) -> None:
        try:
            intent = self.intent
        except VirtuesError as error:
            self.run.message.say(str(error))
            return
        if start and self.checked is not None and self.checked[0] == intent:
            self._launch(*self.checked)
            return
        then = partial(self._on_checked, intent, start)
        self.run.begin(partial(_job_of, intent), then, intent.checkpoint)

    def _on_checked(self, intent: TrainIntent, start: bool, check: TrainingCheck) -> None:  # noqa: FBT001 - by `partial`
        self.checked = intent, check
        self.plan.setText("\n".join(check.lines))
        self.plan.show()
        self.warnings.say([shorten(x, SHORT, placeholder=" …") for x in check.warnings], "warning")
        self.warnings.setToolTip("\n\n".join(check.warnings))
        self.run.message.say([f"It would not start: {reason}" for reason in check.stops])
        self.run.run_button.setText(ANYWAY if check.warnings and not check.stops else START)
        if start and not check.warnings:
            self._launch(intent, check)

    def _launch(self, intent: TrainIntent, check: TrainingCheck) -> None:
        if check.stops:
            return
        self.run.run_button.setEnabled(False)
        resolved = dataclasses.replace(intent, config=check.config)
        work = partial(attempt, start_training, resolved)
        self.background.run(work, self._on_started, self._on_not_started)

    def _on_started(self, outcome: "Job | VirtuesError") -> None:
        self._on_not_started()
        if isinstance(outcome, VirtuesError):
            self.run.message.say(str(outcome))
            return
        self.job = outcome
        self.checked = None
        self.run.run_button.setText(START)
        self.trainings.watch(outcome.run_dir)
        self.show_page(RUNS)

    def _on_not_started(self) -> None:
        self.run.run_button.setEnabled(True)

    # what changes as one chooses

    def _on_changed(self, *_: Any) -> None:
        self.checked = None
        self.plan.hide()
        self.warnings.say("")
        self.run.message.say("")
        self.run.run_button.setText(START)
        try:
            _ = self.config
        except VirtuesError as error:
            self.run.message.say(str(error))

    def _on_start_from(self, *_: Any) -> None:
        scratch = self.model.checkpoint == SCRATCH
        self.recipe_box.setVisible(scratch)
        self.model.form.labelForField(self.recipe_box).setVisible(scratch)
        self.advanced.show_section("model", visible=scratch)
        self.choose_recipe(str(self.recipe_box.currentData()))

    def _on_executor(self, *_: Any) -> None:
        self.slurm.setVisible(self.executor_box.currentData() == "slurm")
        self._on_changed()

    def _on_fold(self, shown: bool) -> None:  # noqa: FBT001 - Qt's signature
        arrow = Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow
        self.fold.setArrowType(arrow)
        self.advanced.setVisible(shown)

    def _pick_embeddings(self) -> None:
        title = "Embeddings of proteins"
        dialogs.ask_open(self, title, dialogs.EMBEDDINGS, self.embeddings_line.setText)

    def _add_open(self) -> None:
        paths = dict.fromkeys(x.image.source for x in self.state.images if x.image.source)
        if not paths:
            self.run.message.say("no image of a file is open; open one in the Images dock")
            return
        self.add([str(path) for path in paths])

    def _clear(self) -> None:
        self.data.clear()
        self._on_changed()

    @telling
    def _copy_command(self, *_: Any) -> None:
        QApplication.clipboard().setText(self.command)
        self.run.status.setText(f"Copied: {self.command}")

    def _connect(self) -> None:
        self.page_buttons.idClicked.connect(self.show_page)
        self.add_images.clicked.connect(lambda: dialogs.ask_images(self, self.add))
        self.add_folder.clicked.connect(
            lambda: dialogs.ask_folder(self, lambda path: self.add([path]))
        )
        self.add_open.clicked.connect(self._add_open)
        self.clear_data.clicked.connect(self._clear)
        self.model.checkpoint_box.currentIndexChanged.connect(self._on_start_from)
        self.model.device_box.activated.connect(self._on_changed)
        self.recipe_box.activated.connect(
            lambda _: self.choose_recipe(str(self.recipe_box.currentData()))
        )
        for fields in (self.settings, self.advanced, self.slurm):
            fields.changed.connect(self._on_changed)
        self.embeddings_file.clicked.connect(self._pick_embeddings)
        self.embeddings_line.textChanged.connect(self._on_changed)
        self.fold.toggled.connect(self._on_fold)
        self.executor_box.currentIndexChanged.connect(self._on_executor)
        self.run.asked.connect(self.start)
        self.check_button.clicked.connect(self.check)
        self.command_button.clicked.connect(self._copy_command)
        self.trainings.running.connect(partial(self.show_page, RUNS))
        self.trainings.checkpoint_wanted.connect(self.use)


def _job_of(intent: TrainIntent) -> CheckTrainingJob:
    return CheckTrainingJob(
        paths=intent.paths,
        spora=intent.spora,
        checkpoint=intent.checkpoint,
        config=intent.config,
        embeddings=intent.embeddings,
        measure=intent.executor == "local",
    )
