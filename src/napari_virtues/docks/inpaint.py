"""The *Inpaint* dock: hide a marker or a region, let the model paint it, see how good that is."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QApplication, QMenu

from napari_virtues._widgets import garbage
from napari_virtues._widgets import inpaint_dialogs as dialogs
from napari_virtues._widgets.background import Background, attempt
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.inpaint_form import CHECKPOINTS, HUB, STRATEGIES, InpaintForm
from napari_virtues._widgets.listening import listen
from napari_virtues._widgets.notify import telling
from napari_virtues._widgets.result_view import ResultView
from napari_virtues._widgets.tile_view import TileView
from napari_virtues._widgets.turns import Turns, draw_letters
from napari_virtues.engine import (
    Cancelled,
    Download,
    Failed,
    Finished,
    InpaintJob,
    Job,
    Loading,
    LookUpTerms,
    Ready,
    Started,
    Terms,
    TileDone,
)
from napari_virtues.inpaint_command import PANEL, has_own_panel, inpaint_command
from napari_virtues.inpaint_intent import Intent, RegionSource, job_of, region_sources
from napari_virtues.inpaint_result import save_result
from napari_virtues.state import AppState, OpenImage, unwrapped
from virtues_core.errors import InputError, VirtuesError

LOADING = {
    "checkpoint": "Loading the model…",
    "image": "Reading the image…",
    "licence": "Asking for the licence…",
    "download": "Downloading the model…",
}


class InpaintDock(InpaintForm):
    """Asks the engine for an inpainting and shows what comes."""

    ended = QtSignal()
    """A run ended without a result. One with a result is told by ``view.shown``."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.state = AppState.of(self.viewer)
        self.bridge = EngineBridge.of(self.viewer)
        self.engine = self.bridge.engine
        self.background = Background(self)
        self.tiles = TileView(self.viewer, self.progress, self.status)
        self.view = ResultView(self.viewer, self.background, self)
        self._letters = Turns(self)
        self.job: InpaintJob | None = None
        """The last inpainting that was asked for."""
        self.result: Any = None
        """The last `virtues_core.infer.InpaintResult`."""
        self._opened: OpenImage | None = None
        self._listed: list[OpenImage] = []
        self._turn = 0
        self._number: int | None = None
        self._region_path: Path | None = None
        self._saved: tuple[Path | None, Path | None] = (None, None)
        self._then: Callable[[Any], None] = self._finish
        self._connect_widgets()
        self._connect_state()
        self._list_checkpoints()
        self._list_devices()
        self._list_regions()
        self._on_strategy()
        self._on_active()
        self._letters.begin(draw_letters(self.viewer))
        garbage.search_now()

    @property
    def busy(self) -> bool:
        """Whether a run was asked for that has not ended."""
        return self.cancel_button.isEnabled()

    def showEvent(self, event: Any) -> None:
        """Start the engine ahead of the first run, to know its devices."""
        super().showEvent(event)
        self.engine.start()

    def run(self) -> None:
        """Take what is chosen, and let the engine do it; answers as the Run button does."""
        if self.busy:
            return
        self.message.say("")
        try:
            intent = self._intent()
        except VirtuesError as error:
            self.message.say(str(error))
            return
        self._set_busy("Preparing…")
        self._opened = intent.opened
        self._turn += 1
        self.background.run(partial(attempt, job_of, intent), partial(self._prepared, self._turn))

    def cancel(self) -> None:
        """Stop the run; answers as the Cancel button does."""
        if self.busy:
            self.status.setText("Stopping…")
            self.engine.cancel()
            if self._number is None:
                self._stop("Cancelled.")

    @property
    def command(self) -> str:
        """The command that repeats the last run."""
        if self.job is None:
            message = "nothing was run yet; choose what to hide, then press Run"
            raise InputError(message)
        out, region = self._saved
        return inpaint_command(self.job, region=region or self._region_path, out=out)

    def save(self, path: Path | str) -> None:
        """Write the last result as OME-TIFF, in the background."""
        if self.result is None or self.job is None:
            return
        drawn = self.job.request.region if self._region_path is None else None
        size = self.job.image.pixel_size_um
        self.background.run(
            partial(attempt, save_result, self.result, drawn, Path(path), size), self._on_saved
        )

    def _on_saved(self, outcome: "tuple[Path, Path | None] | VirtuesError") -> None:
        if isinstance(outcome, VirtuesError):
            self.message.say(str(outcome))
            return
        self._saved = outcome
        self.status.setText("Saved " + " and ".join(p.name for p in outcome if p) + ".")

    def choose_checkpoint(self, name: str) -> None:
        """Choose "demo", a published variant, or the path of a folder or weights file."""
        index = self.checkpoint_box.findData(name)
        if index < 0:
            self.checkpoint_box.addItem(Path(name).name, name)
            index = self.checkpoint_box.count() - 1
            self.checkpoint_box.setItemData(index, name, 3)  # tool tip
        self.checkpoint_box.setCurrentIndex(index)

    def choose_strategy(self, strategy: str) -> None:
        """Choose "marker", "niche" or "independent"."""
        self.strategy.button(list(STRATEGIES).index(strategy)).setChecked(True)
        self._on_strategy()

    def choose_mask_file(self, path: Path | str) -> None:
        """Hide what a mask file covers."""
        path = Path(path)
        self.region_box.addItem(path.name, RegionSource(path=path))
        self.region_box.setCurrentIndex(self.region_box.count() - 1)

    def add_cohort(self, paths: list[str]) -> None:
        """Add images that carry the hidden markers."""
        here = {self.cohort.item(i).toolTip() for i in range(self.cohort.count())}
        for path in paths:
            if path not in here:
                self.cohort.addItem(Path(path).name)
                self.cohort.item(self.cohort.count() - 1).setToolTip(path)

    def _intent(self) -> Intent:
        opened = self.state.active
        if opened is None:
            message = "no image is open; open one in the Images dock, then press Run"
            raise InputError(message)
        strategy = list(STRATEGIES)[self.strategy.checkedId()]
        markers = self.picker.chosen
        if strategy == "marker" and not markers:
            message = "no marker is ticked; tick the marker to hide, then press Run"
            raise InputError(message)
        region = self.region_box.currentData() if strategy == "niche" else None
        self._region_path = region.path if isinstance(region, RegionSource) else None
        return Intent(
            opened=opened,
            strategy=strategy,
            markers=markers,
            region=region.frozen() if isinstance(region, RegionSource) else None,
            checkpoint=self.checkpoint_box.currentData(),
            device=self.device_box.currentText(),
            cohort=tuple(Path(self.cohort.item(i).toolTip()) for i in range(self.cohort.count())),
            numbers=self.fields.values,
        )

    def _prepared(self, turn: int, outcome: "InpaintJob | VirtuesError") -> None:
        if not self.busy or turn != self._turn:
            return  # cancelled meanwhile
        if isinstance(outcome, VirtuesError):
            self._stop("", str(outcome))
            return
        self.job, self._saved = outcome, (None, None)
        if outcome.checkpoint in HUB:
            self._submit(LookUpTerms(outcome.checkpoint), self._ask_licence)
        else:
            self._inpaint()

    def _ask_licence(self, terms: Terms) -> None:
        if terms.here:
            self._inpaint()
        elif dialogs.accept_licence(self, terms):
            self._submit(Download(terms.name), lambda _: self._inpaint())
        else:
            self._stop(f"{terms.name} was not downloaded: its licence was not accepted.")

    def _inpaint(self) -> None:
        if self.job is not None and self._opened is not None:
            self.view.step_aside()
            self.tiles.begin(self._opened.image)
            self._submit(self.job, self._finish)

    def _submit(self, job: Job, then: Callable[[Any], None]) -> None:
        self._then = then
        try:
            self._number = self.engine.submit(job)
        except VirtuesError as error:
            self._stop("", str(error))

    def _on_event(self, event: Any) -> None:
        if isinstance(event, Ready):
            self._list_devices()
        if self._number is None:
            return
        if isinstance(event, Started):
            self.status.setText("Starting the engine…")
        elif isinstance(event, Loading):
            self.status.setText(LOADING.get(event.what, "Loading…"))
        elif isinstance(event, TileDone):
            self.tiles.add(event)
        elif isinstance(event, Finished | Failed | Cancelled) and event.number == self._number:
            self._number = None
            self._on_end(event)

    def _on_end(self, event: Finished | Failed | Cancelled) -> None:
        if isinstance(event, Finished):
            self._then(event.result)
        elif isinstance(event, Cancelled):
            self._stop("Cancelled.")
        else:
            self._stop("", event.message, event.detail)

    def _finish(self, result: Any) -> None:
        self.result = result
        took = self.tiles.end(keep=True)
        self._set_idle(f"Done in {took:.0f} s." if took >= 1 else "Done.")
        if self._opened is not None:
            self.view.show_result(self._opened.image, result)

    def _stop(self, status: str, problem: str = "", detail: str = "") -> None:
        self._number = None
        self._set_idle(status)
        self.message.say(problem)
        self.message.setToolTip(detail)
        self.ended.emit()
        garbage.search_all()
        self.tiles.end()  # last: taking a layer away lasts

    def _set_busy(self, status: str) -> None:
        garbage.search_young_only()
        self.status.setText(status)
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.progress.setRange(0, 1)  # an animated bar would redraw the whole window all the time
        self.progress.setValue(0)
        self.progress.show()

    def _set_idle(self, status: str) -> None:
        self.status.setText(status)
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.progress.hide()

    def _connect_widgets(self) -> None:
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.strategy.idClicked.connect(self._on_strategy)
        self.region_file.clicked.connect(self._pick_mask)
        self.cohort_add.clicked.connect(self._pick_cohort)
        self.cohort_clear.clicked.connect(self.cohort.clear)
        self.save_button.clicked.connect(self._pick_output)
        self.command_button.clicked.connect(self._copy_command)
        menu = QMenu(self.checkpoint_file)
        menu.addAction("Folder…", self._pick_folder)
        menu.addAction("Weights file…", self._pick_weights)
        self.checkpoint_file.setMenu(menu)
        self.bridge.event.connect(self._on_event)
        self.destroyed.connect(garbage.search_all)

    def _connect_state(self) -> None:
        layers = self.viewer.layers.events
        listen(
            self,
            (self.state.active_changed, self._on_active),
            (layers.inserted, self._list_regions),
            (layers.removed, self._list_regions),
        )
        self.destroyed.connect(partial(_unlist, self._listed, self._on_panel))

    def _on_strategy(self, *_: Any) -> None:
        strategy = list(STRATEGIES)[self.strategy.checkedId()]
        self.region_row.setVisible(strategy == "niche")
        self.picker.describe(
            "Tick the markers to hide." if strategy == "marker" else "All markers are reported."
        )

    def _on_active(self, *_: Any) -> None:
        _unlist(self._listed, self._on_panel)
        if self.state.active is not None:
            self._listed.append(self.state.active)
            self.state.active.panel_changed.connect(self._on_panel)
        self._on_panel()

    def _on_panel(self) -> None:
        opened = self.state.active
        self.picker.set_panel(opened.panel if opened is not None else None)
        self.run_button.setEnabled(opened is not None and not self.busy)
        if opened is None:
            self.image_label.setText("Open an image to begin.")
            return
        channels, height, width = opened.image.shape
        usable = len(self.picker.choices)
        self.image_label.setText(
            f"{opened.image.name}: {width:,} × {height:,} pixels, {usable} of {channels} channels "
            "are for the model"
        )

    def _list_checkpoints(self) -> None:
        for name, text in CHECKPOINTS.items():
            self.checkpoint_box.addItem(text, name)

    def _list_devices(self) -> None:
        chosen = self.device_box.currentText()
        self.device_box.clear()
        self.device_box.addItems(["auto", *self.bridge.devices])
        self.device_box.setCurrentText(chosen or "auto")

    def _list_regions(self, *_: Any) -> None:
        chosen = self.region_box.currentText()
        files = [
            self.region_box.itemData(i)
            for i in range(self.region_box.count())
            if isinstance(self.region_box.itemData(i), RegionSource)
            and self.region_box.itemData(i).path is not None
        ]
        self.region_box.clear()
        self.region_box.addItem("Random places")
        for source in (*region_sources(self.viewer), *files):
            self.region_box.addItem(source.name, source)
        self.region_box.setCurrentIndex(max(0, self.region_box.findText(chosen)))

    def _pick_mask(self) -> None:
        dialogs.ask_mask(self, self.choose_mask_file)

    def _pick_cohort(self) -> None:
        dialogs.ask_images(self, self.add_cohort)

    def _pick_folder(self) -> None:
        dialogs.ask_folder(self, self.choose_checkpoint)

    def _pick_weights(self) -> None:
        dialogs.ask_weights(self, self.choose_checkpoint)

    def _pick_output(self) -> None:
        dialogs.ask_output(self, self.save)

    @telling
    def _copy_command(self, *_: Any) -> None:
        command = self.command
        QApplication.clipboard().setText(command)
        own = self.job is not None and has_own_panel(self.job)
        first = f" Save the panel in the Images dock as {PANEL} first." if own else ""
        self.status.setText(f"Copied: {command}{first}")


def _unlist(listed: list[OpenImage], slot: Callable[[], None], *_: Any) -> None:
    """Stop listening to the image whose channels were listed."""
    while listed:
        listed.pop().panel_changed.disconnect(slot)
