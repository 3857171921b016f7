"""The *Inpaint* dock: hide a marker or a region, let the model paint it, see how good that is."""

from functools import partial
from pathlib import Path
from typing import Any

from napari_virtues._widgets import dialogs, garbage
from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.inpaint_form import STRATEGIES, InpaintForm
from napari_virtues._widgets.result_view import ResultView
from napari_virtues._widgets.tile_view import TileView
from napari_virtues._widgets.turns import Turns, draw_letters
from napari_virtues.engine import InpaintJob, TileDone
from napari_virtues.inpaint_command import inpaint_command
from napari_virtues.inpaint_intent import Intent, job_of
from napari_virtues.inpaint_result import save_result
from virtues_core.errors import InputError, VirtuesError

RESULTS = "OME-TIFF (*.ome.tiff *.ome.tif)"


class InpaintDock(InpaintForm):
    """Asks the engine for an inpainting and shows what comes."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__(napari_viewer)
        self.tiles = TileView(self.viewer, self.run.progress, self.run.status)
        self.view = ResultView(self.viewer, self.background, self)
        self._letters = Turns(self)
        self.result: Any = None
        """The last `virtues_core.infer.InpaintResult`."""
        self._saved: tuple[Path | None, Path | None] = (None, None)
        self._connect()
        self._on_strategy()
        self._on_image()
        self._letters.begin(draw_letters(self.viewer))
        garbage.search_now()

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
            self.run.message.say(str(outcome))
            return
        self._saved = outcome
        self.run.status.setText("Saved " + " and ".join(p.name for p in outcome if p) + ".")

    def choose_strategy(self, strategy: str) -> None:
        """Choose "marker", "niche" or "independent"."""
        self.strategy.button(list(STRATEGIES).index(strategy)).setChecked(True)
        self._on_strategy()

    def add_cohort(self, paths: list[str]) -> None:
        """Add images that carry the hidden markers."""
        here = {self.cohort.item(i).toolTip() for i in range(self.cohort.count())}
        for path in paths:
            if path not in here:
                self.cohort.addItem(Path(path).name)
                self.cohort.item(self.cohort.count() - 1).setToolTip(path)

    def _chosen(self) -> Intent:
        opened = self._active()
        strategy = list(STRATEGIES)[self.strategy.checkedId()]
        markers = self.picker.chosen
        if strategy == "marker" and not markers:
            message = "no marker is ticked; tick the marker to hide, then press Run"
            raise InputError(message)
        return Intent(
            opened=opened,
            strategy=strategy,
            markers=markers,
            region=self.regions.source if strategy == "niche" else None,
            checkpoint=self.model.checkpoint,
            device=self.model.device,
            cohort=tuple(Path(self.cohort.item(i).toolTip()) for i in range(self.cohort.count())),
            numbers=self.fields.values,
        )

    def _job_of(self, intent: Intent) -> InpaintJob:
        return job_of(intent)

    def _started(self, intent: Intent, job: InpaintJob) -> None:
        super()._started(intent, job)
        self._saved = (None, None)
        self.view.step_aside()
        self.tiles.begin(intent.opened.image)

    def _on_event(self, event: Any) -> None:
        if isinstance(event, TileDone):
            self.tiles.add(event)

    def _finish(self, result: Any) -> None:
        self.result = result
        self.tiles.end(keep=True)
        self.view.show_result(self.intent.opened.image, result)

    @property
    def _region_path(self) -> Path | None:
        """File of the hidden region, where it was in one."""
        return self.intent.region.path if self.intent.region is not None else None

    def _command_of(self, job: InpaintJob) -> str:
        out, region = self._saved
        return inpaint_command(job, region=region or self._region_path, out=out)

    def _connect(self) -> None:
        self.run.stopped.connect(self.tiles.end)
        self.bridge.event.connect(self._on_event)
        self.image_changed.connect(self._on_image)
        self.strategy.idClicked.connect(self._on_strategy)
        self.cohort_add.clicked.connect(lambda: dialogs.ask_images(self, self.add_cohort))
        self.cohort_clear.clicked.connect(self.cohort.clear)
        self.save_button.clicked.connect(self._pick_output)

    def _on_strategy(self, *_: Any) -> None:
        strategy = list(STRATEGIES)[self.strategy.checkedId()]
        self.regions.setVisible(strategy == "niche")
        self.picker.describe(
            "Tick the markers to hide." if strategy == "marker" else "All markers are reported."
        )

    def _on_image(self) -> None:
        opened = self.state.active
        self.picker.set_panel(opened.panel if opened is not None else None)

    def _pick_output(self) -> None:
        dialogs.ask_save(self, "Save the result", "inpainted.ome.tiff", RESULTS, self.save)
