"""The *Cohort* dock: cells and patients → an analysis as a job → what it found, in the tissues."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.cohort_form import LABEL_PX, RESULTS, CohortForm
from napari_virtues._widgets.config_fields import ConfigFields
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.form_parts import line_up
from napari_virtues._widgets.listening import at_end, listen
from napari_virtues._widgets.tissue_layers import TissueLayers
from napari_virtues.cohort_check import (
    ClinicalFile,
    OpenedCells,
    count,
    open_tables,
    read_columns,
)
from napari_virtues.cohort_intent import (
    Analysis,
    CohortIntent,
    Form,
    check_needs,
    cohort_command,
    form_of,
    free_folder,
    start_analysis,
    taken_columns,
)
from napari_virtues.lit_cells import Lit, lit_by
from napari_virtues.state import AppState, unwrapped
from napari_virtues.tissue_places import keep_folder
from virtues_core.errors import InputError, VirtuesError
from virtues_core.jobs import Job

if TYPE_CHECKING:
    from napari_virtues.cohort_folder import ShownResults

STILL_MS = 300
"""Tables are looked at once nothing has been chosen for so long."""


class CohortDock(CohortForm):
    """Starts analyses of cohorts as jobs, and leads from their results back to the tissues."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        self.viewer = unwrapped(napari_viewer)
        super().__init__(EngineBridge.of(self.viewer))
        self.tissue_layers = TissueLayers(self.viewer, self)
        self.fields: ConfigFields | None = None
        """The settings of the chosen analysis."""
        self.job: Job | None = None
        """The one that was started last."""
        self._forms: dict[str, Form] = {}
        self._opened: OpenedCells | None = None
        self._file: ClinicalFile | None = None
        self._out = ""
        self._turn = 0
        self._still = QTimer(self)
        self._still.setSingleShot(True)
        self._still.setInterval(STILL_MS)
        self._connect()
        self._on_analysis()
        at_end(self, self.background.close)

    @property
    def analysis(self) -> Analysis:
        """The chosen one."""
        found: Analysis = self.analysis_box.currentData()
        return found

    @property
    def paths(self) -> tuple[Path, ...]:
        """Tables of cells, and folders of them."""
        return self.cells.paths

    @property
    def clinical(self) -> Path | None:
        """The clinical table."""
        text = self.clinical_line.text().strip()
        return Path(text) if text else None

    @property
    def intent(self) -> CohortIntent:
        """What is chosen.

        Raises
        ------
        InputError, ConfigError
            What is missing or out of range.
        """
        if not self.paths:
            message = "no cells to analyse; add tables of cells, made by virtues embed"
            raise InputError(message)
        if self.clinical is None:
            message = "nothing is known of the patients; open a clinical table"
            raise InputError(message)
        columns = self.columns.columns
        discovery = self.discovery_line.text().strip()
        found = Path(discovery) if discovery and self.analysis.of_discovery else None
        form = self._forms.get(self.analysis.name)
        if form is None or self.fields is None:
            message = "the settings are being looked up; try again in a moment"
            raise InputError(message)
        out = self.out_line.text().strip()
        if not out:
            message = "no folder for the results; choose one"
            raise InputError(message)
        settings = _checked(form.config, self.fields.values)
        level = "cell" if self._opened is None else self._opened.tables.level
        intent = CohortIntent(
            self.analysis,
            form,
            self.paths,
            self.clinical,
            columns,
            settings,
            Path(out),
            found,
            level,
        )
        check_needs(intent)
        return intent

    def add(self, paths: list[str]) -> None:
        """Add tables of cells, or folders of them."""
        self.cells.add(paths)
        self._on_changed()

    def open_clinical(self, path: Path | str) -> None:
        """Read the columns of a clinical table."""
        self.clinical_line.setText(str(path))
        self._on_clinical()

    def start(self) -> None:
        """Start the analysis as a job."""
        try:
            intent = self.intent
        except VirtuesError as error:
            self.message.say(str(error))
            return
        self.message.say("")
        self.run_button.setEnabled(False)
        self.background.run(
            partial(attempt, start_analysis, intent), self._on_started, self._on_not_started
        )

    def copy_command(self) -> None:
        """Put the command that does the same on the clipboard."""
        try:
            command = cohort_command(self.intent)
        except VirtuesError as error:
            self.message.say(str(error))
            return
        QApplication.clipboard().setText(command)
        self.message.say(f"Copied: {command}", "note")

    # tables

    def _on_clinical(self, *_: Any) -> None:
        self._file = None
        if self.clinical is None:
            self.columns.show_table({})
            self._on_changed()
            return
        work = partial(attempt, read_columns, self.clinical)
        self.background.run(work, partial(self._on_columns, self.clinical))

    def _on_columns(self, path: Path, found: "ClinicalFile | VirtuesError") -> None:
        if path != self.clinical:
            return  # another was chosen meanwhile
        if isinstance(found, VirtuesError):
            self.columns.show_table({})
            self.counts.setText("")
            self.problems.say(str(found))
            return
        self._file = found
        self.columns.show_table(found.values)
        self._on_changed()

    def _on_changed(self, *_: Any) -> None:
        self.message.say("")
        self._suggest_out()
        self._turn += 1
        self._still.start()

    def _look(self) -> None:
        """Count what the tables say, in the background."""
        self.problems.say("")
        self.counts.setText("")
        if self._opened is not None and self._opened.paths != self.paths:
            self._opened = None
        self._show_cells()
        if self.paths and self._opened is None:
            self.cells_label.setText("Counting cells…")
            work = partial(attempt, open_tables, self.paths)
            self.background.run(work, partial(self._on_cells, self._turn))
        else:
            self._count()

    def _on_cells(self, turn: int, found: "OpenedCells | VirtuesError") -> None:
        if turn != self._turn:
            return
        failed = isinstance(found, VirtuesError)
        self._opened = None if failed else found
        self._show_cells()
        if failed:
            self.cells_message.say(str(found))
        self._count()

    def _on_tokens(self, folder: Path) -> None:
        self._opened = None  # where the folder is listed already there are other tables in it
        self.add([str(folder)])

    def _show_cells(self) -> None:
        self.cells_message.say("")
        self.cells_label.setText("" if self._opened is None else self._opened.summary)
        self.cells_label.setVisible(self.cells.count() > 0)

    def _count(self) -> None:
        if self._file is None:
            return
        try:
            columns = self.columns.columns
        except VirtuesError as error:
            self.problems.say(str(error))
            return
        form, classes = self._forms.get(self.analysis.name), False
        if form is not None:
            columns = taken_columns(form, columns)
            classes = "positive" not in form.options
        work = partial(count, self._file.path, columns, self._opened, classes=classes)
        self.background.run(partial(attempt, work), partial(self._on_counts, self._turn))

    def _on_counts(self, turn: int, found: "tuple[str, ...] | VirtuesError") -> None:
        if turn != self._turn:
            return
        if isinstance(found, VirtuesError):
            self.problems.say(str(found))
        else:
            self.counts.setText("\n".join(found))

    # the analysis

    def _on_analysis(self, *_: Any) -> None:
        analysis = self.analysis
        self.about.setText(analysis.about)
        self.discovery.setVisible(analysis.of_discovery)
        if self.fields is not None:
            self.fields.hide()
            self.fields.deleteLater()
            self.fields = None
        self._suggest_out()
        self.message.say("")
        if analysis.name in self._forms:
            self._show_form(analysis, self._forms[analysis.name])
        else:
            self.background.run(partial(form_of, analysis), partial(self._show_form, analysis))

    def _show_form(self, analysis: Analysis, form: Form) -> None:
        self._forms[analysis.name] = form
        if analysis is not self.analysis or self.fields is not None:
            return
        self.fields = ConfigFields(form.config, without=form.fixed)
        line_up(self.fields.form, LABEL_PX)
        self.settings.addWidget(self.fields)
        self.fields.changed.connect(partial(self.message.say, ""))
        self._on_changed()  # it may take other columns

    def _suggest_out(self) -> None:
        """Name a new folder beside the clinical table, unless a person named one."""
        if self.out_line.text() != self._out or self.clinical is None:
            return
        self._out = str(free_folder(self.clinical.absolute().parent, self.analysis.name))
        self.out_line.setText(self._out)

    def _on_started(self, outcome: "Job | VirtuesError") -> None:
        self._on_not_started()
        if isinstance(outcome, VirtuesError):
            self.message.say(str(outcome))
            return
        self.job = outcome
        self.runs.watch(outcome.run_dir)
        self.show_page(RESULTS)

    def _on_not_started(self) -> None:
        self.run_button.setEnabled(True)

    # from results to tissues

    def _on_shown(self, results: "ShownResults | None") -> None:
        self.tissues.show_lit(None)
        if results is None:
            self._suggest_out()

    def _on_picked(self, column: str, value: str) -> None:
        shown = self.runs.view.shown
        if shown is not None:
            work = partial(attempt, lit_by, shown.results, column, value)
            self.background.run(work, partial(self._on_lit, shown))

    def _on_lit(self, shown: "ShownResults", found: "Lit | VirtuesError") -> None:
        if shown is not self.runs.view.shown:
            return
        if isinstance(found, VirtuesError):
            self.runs.message.say(str(found))
            return
        self.runs.message.say("")
        self.tissues.show_lit(found)
        self.ensureWidgetVisible(self.tissues)

    def _on_tissue(self, tissue_id: str) -> None:
        shown, lit = self.runs.view.shown, self.tissues.lit
        if shown is not None and lit is not None:
            self.tissue_layers.open(shown, lit, tissue_id)

    def _keep_folder(self, path: str) -> None:
        try:
            keep_folder(Path(path))
        except VirtuesError as error:
            self.tissues.message.say(str(error))
            return
        if self.tissues.tissue is not None:
            self._on_tissue(self.tissues.tissue)

    # how it is put together

    def _connect(self) -> None:
        self._still.timeout.connect(self._look)
        self.page_buttons.idClicked.connect(self.show_page)
        self.add_tables.clicked.connect(lambda: dialogs.ask_tables(self, self.add))
        self.add_folder.clicked.connect(
            lambda: dialogs.ask_any_folder(
                self, "Folder of tables of cells", lambda path: self.add([path])
            )
        )
        self.from_images.clicked.connect(self.tokens.ask)
        self.tokens.made.connect(self._on_tokens)
        state, choose = AppState.of(self.viewer), self.tokens.form.model.choose
        if state.checkpoint is not None:
            choose(state.checkpoint)
        listen(self, (state.checkpoint_changed, choose))
        self.clear_cells.clicked.connect(self._clear)
        self.clinical_file.clicked.connect(
            lambda: dialogs.ask_open(self, "Clinical table", dialogs.CLINICAL, self.open_clinical)
        )
        self.clinical_line.editingFinished.connect(self._on_typed)
        self.columns.changed.connect(self._on_changed)
        self.analysis_box.currentIndexChanged.connect(self._on_analysis)
        self.discovery_folder.clicked.connect(
            lambda: dialogs.ask_any_folder(
                self, "Results of a biomarker discovery", self.discovery_line.setText
            )
        )
        self.out_folder.clicked.connect(
            lambda: dialogs.ask_save(self, "Results in", self._out, "", self.out_line.setText)
        )
        self.run_button.clicked.connect(self.start)
        self.command_button.clicked.connect(self.copy_command)
        self.runs.open_button.clicked.connect(
            lambda: dialogs.ask_any_folder(self, "Folder of results", self.runs.open_folder)
        )
        self.runs.shown.connect(self._on_shown)
        self.runs.view.picked.connect(self._on_picked)
        self.tissues.chosen.connect(self._on_tissue)
        self.tissues.folder_button.clicked.connect(
            lambda: dialogs.ask_any_folder(self, "Images and masks", self._keep_folder)
        )
        self.tissue_layers.told.connect(self.tissues.message.say)
        self.tissue_layers.opened.connect(self.tissues.say_open)

    def _on_typed(self) -> None:
        if self.clinical_line.isModified():
            self.clinical_line.setModified(False)
            self._on_clinical()

    def _clear(self) -> None:
        self.cells.clear()
        self._on_changed()


def _checked(config: Any, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Have the class of the settings check what was typed."""
    import dataclasses

    dataclasses.replace(config, **values)
    return values
