"""The *Images* dock: which image, which channels, in which colours, and what they measure."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QFileDialog, QInputDialog

from napari_virtues._widgets.background import Background
from napari_virtues._widgets.images_form import ImagesForm
from napari_virtues._widgets.layer_sync import LayerSync
from napari_virtues._widgets.listening import listen
from napari_virtues._widgets.notify import telling
from napari_virtues._widgets.panel_table import PanelModel
from napari_virtues._widgets.protein_editor import ProteinEditor
from napari_virtues.colors import first_channels
from napari_virtues.layers import image_from_layers
from napari_virtues.state import LINK, AppState, ChannelLink, OpenImage, unwrapped
from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel, Registry
from virtues_core.read import can_read, image_names, read_image

if TYPE_CHECKING:
    from napari.viewer import Viewer

FILES = "Images (*.tif *.tiff *.btf *.mcd *.txt);;All files (*)"
TABLES = "Panel table (*.csv)"


class ImagesDock(ImagesForm):
    """Opens images and shows their channels; `napari_virtues.state` holds what is chosen."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.state = AppState.of(self.viewer)
        self.background = Background(self)
        self.sync = LayerSync(self.viewer, self.state, self.background)
        self._names: dict[OpenImage, tuple[str, ...]] = {}
        self._connect_widgets()
        listen(
            self,
            (self.state.image_added, self._list_images),
            (self.state.image_removed, self._list_images),
            (self.state.active_changed, self._on_active),
            (self.state.composites_changed, self._list_composites),
        )
        self._list_composites()
        self._on_active(self.state.active)
        self.destroyed.connect(partial(_close, self.table.panel, self.sync, self.background))

    def open_path(self, path: Path | str, image: str | None = None) -> None:
        """Open a file or folder in the background and show its first channels."""
        self.summary.setText("Opening…")
        self.background.run(partial(_open, Path(path), image), self._opened, self._summarise)

    @telling
    def adopt_layers(self) -> None:
        """Take the layers selected in the layer list as an image."""
        layers = sorted(self.viewer.layers.selection, key=self.viewer.layers.index)
        image = image_from_layers(layers)
        opened = self.state.add(image)
        if len(layers) == 1:
            layers[0].visible = False
            layers[0].metadata[LINK] = ChannelLink(image)
            opened.shown = first_channels(opened.panel)
            return
        for channel, layer in enumerate(layers):
            layer.metadata[LINK] = ChannelLink(image, channel)
        opened.shown = range(len(layers))

    @telling
    def load_panel(self, path: Path | str) -> None:
        """Take what the channels measure from a CSV table, by the channels' names."""
        self._active().take_panel(Panel.from_csv(path))

    @telling
    def save_panel(self, path: Path | str) -> None:
        """Write what the channels measure to a CSV table."""
        self._active().panel.to_csv(path)

    @telling
    def edit_channel(self, channel: int) -> ProteinEditor:
        """Ask what a channel measures; the panel changes when the dialog is accepted."""
        image = self._active()
        editor = ProteinEditor(image.panel, channel, Registry.load(), self)
        editor.accepted.connect(lambda: setattr(image, "panel", editor.result_panel()))
        editor.open()
        return editor

    @telling
    def set_contrast(self, channels: tuple[int, ...]) -> None:
        """Use the percentiles in the two boxes for some channels."""
        self._active().set_percentiles(channels, self.low.value(), self.high.value())

    def _active(self) -> OpenImage:
        if self.state.active is None:
            message = "no image is open; open one with the button at the top, then try again"
            raise InputError(message)
        return self.state.active

    def _connect_widgets(self) -> None:
        for text, slot in (
            ("File…", self._ask_file),
            ("Folder or OME-Zarr…", self._ask_folder),
            ("Use the selected layers", self.adopt_layers),
            (None, None),
            ("Close this image", self._close_image),
        ):
            if text is None:
                self.open_menu.addSeparator()
            else:
                self.open_menu.addAction(text, slot)
        self.image_box.activated.connect(self._choose_image)
        self.name_box.activated.connect(self._choose_name)
        self.search.textChanged.connect(self.table.filter.search)
        self.to_check.toggled.connect(self.table.filter.only_to_check)
        self.hide_all.clicked.connect(self._hide_all)
        self.table.color_wanted.connect(self._ask_color)
        self.table.edit_wanted.connect(self.edit_channel)
        self.table.panel.dataChanged.connect(self._summarise)
        self.table.selectionModel().selectionChanged.connect(self._on_selection)
        self.contrast_selected.clicked.connect(self._contrast_selected)
        self.contrast_all.clicked.connect(self._contrast_all)
        self.composite_box.activated.connect(self._apply_composite)
        self.save_composite.clicked.connect(self._ask_composite)
        self.delete_composite.clicked.connect(self._delete_composite)
        self.edit_protein.clicked.connect(self._edit_selected)
        self.load_panel_button.clicked.connect(self._ask_panel)
        self.save_panel_button.clicked.connect(self._ask_panel_target)

    # what the user does

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open an image", "", FILES)
        if path:
            self.open_path(path)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a folder or OME-Zarr")
        if path:
            self.open_path(path)

    def _close_image(self) -> None:
        if self.state.active is not None:
            self.state.close(self.state.active)

    def _choose_image(self, index: int) -> None:
        self.state.active = self.state.images[index]

    @telling
    def _choose_name(self, index: int) -> None:
        image, name = self._active(), self.name_box.itemText(index)
        for other in self.state.images:
            if other.image.source == image.image.source and other.image.name == name:
                self.state.active = other
                return
        self.open_path(image.image.source or "", name)

    @telling
    def _hide_all(self, *_: Any) -> None:
        self._active().shown = ()

    def _ask_color(self, channel: int) -> None:
        image = self._active()
        before = QColor(image.display(channel).color)
        color = QColorDialog.getColor(before, self, f"Colour of {image.image.channels[channel]}")
        if color.isValid():
            image.set_color(channel, color.name())

    def _contrast_selected(self) -> None:
        self.set_contrast(self.table.selected_channels())

    @telling
    def _contrast_all(self, *_: Any) -> None:
        self.set_contrast(tuple(range(len(self._active().panel))))

    @telling
    def _apply_composite(self, index: int) -> None:
        missing = self.state.apply_composite(self.composite_box.itemText(index))
        if missing:
            from napari.utils.notifications import show_info

            show_info(f"Not in this image: {', '.join(missing)}")

    @telling
    def _ask_composite(self, *_: Any) -> None:
        self._active()
        name, ok = QInputDialog.getText(self, "Save view", "Name of this view")
        if ok:
            self.state.save_composite(name)
            self.composite_box.setCurrentText(name.strip())

    @telling
    def _delete_composite(self, *_: Any) -> None:
        self.state.delete_composite(self.composite_box.currentText())

    def _edit_selected(self) -> None:
        channels = self.table.selected_channels()
        if channels:
            self.edit_channel(channels[0])

    def _ask_panel(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load what the channels measure", "", TABLES)
        if path:
            self.load_panel(path)

    @telling
    def _ask_panel_target(self, *_: Any) -> None:
        name = f"{self._active().image.name}_panel.csv"
        path, _ = QFileDialog.getSaveFileName(self, "Save what the channels measure", name, TABLES)
        if path:
            self.save_panel(path)

    # what the state says

    def _opened(self, opened: tuple[MultiplexImage, Panel, tuple[str, ...]]) -> None:
        image, panel, names = opened
        entry = self.state.add(image, panel, first_channels(panel))
        self._found_names(entry, names)

    def _on_active(self, image: OpenImage | None) -> None:
        self.table.panel.set_image(image)
        self._list_images()
        self._list_names(image)
        self._summarise()
        self._on_selection()
        if image is not None and image.image.source is not None and image not in self._names:
            self._names[image] = ()
            work = partial(_names_in, image.image.source)
            self.background.run(work, partial(self._found_names, image))

    def _found_names(self, image: OpenImage, names: tuple[str, ...]) -> None:
        self._names[image] = names
        if image is self.state.active:
            self._list_names(image)

    def _list_images(self, *_: Any) -> None:
        images = self.state.images
        self._names = {image: names for image, names in self._names.items() if image in images}
        self.image_box.clear()
        self.image_box.addItems([image.image.name for image in images])
        if self.state.active in images:
            self.image_box.setCurrentIndex(images.index(self.state.active))
        self.image_box.setPlaceholderText("No image is open")

    def _list_names(self, image: OpenImage | None) -> None:
        names = self._names.get(image, ()) if image is not None else ()
        self.name_label.setVisible(len(names) > 1)
        self.name_box.setVisible(len(names) > 1)
        self.name_box.clear()
        self.name_box.addItems(names)
        if image is not None and image.image.name in names:
            self.name_box.setCurrentIndex(names.index(image.image.name))

    @telling
    def _list_composites(self) -> None:
        names = [composite.name for composite in self.state.composites]
        current = self.composite_box.currentText()
        self.composite_box.clear()
        self.composite_box.addItems(names)
        self.composite_box.setPlaceholderText("Choose a saved view" if names else "None saved yet")
        self.composite_box.setCurrentIndex(names.index(current) if current in names else -1)
        self.delete_composite.setEnabled(bool(names))

    def _summarise(self, *_: Any) -> None:
        image = self.state.active
        if image is None:
            self.summary.setText(
                "Open a file here, or drop one onto the window. "
                "Sample images are under File, Open Sample."
            )
            self.to_check.setText("Not known")
            self.to_check.setEnabled(False)
            return
        self.summary.setText(_described(image.image))
        unknown = sum(entry.status == "review" for entry in image.panel.entries)
        self.to_check.setText(f"Not known ({unknown})")
        self.to_check.setEnabled(unknown > 0 or self.to_check.isChecked())

    def _on_selection(self, *_: Any) -> None:
        channels, image = self.table.selected_channels(), self.state.active
        self.contrast_selected.setEnabled(bool(channels))
        self.edit_protein.setEnabled(len(channels) == 1)
        if channels and image is not None:
            low, high = image.display(channels[0]).percentiles
            self.low.setValue(low)
            self.high.setValue(high)


def _open(path: Path, name: str | None) -> tuple[MultiplexImage, Panel, tuple[str, ...]]:
    image = read_image(path, name)
    return image, Panel.from_names(image.channels), image_names(path)


def _names_in(path: Path) -> tuple[str, ...]:
    return image_names(path) if can_read(path) else ()


def _described(image: MultiplexImage) -> str:
    count, y, x = image.shape
    size = "pixel size not in the file"
    if image.pixel_size_um is not None:
        across = " × ".join(f"{v:.3g}" for v in dict.fromkeys(image.pixel_size_um))
        size = f"{across} µm per pixel"
    return f"{count} channel{'s' if count > 1 else ''}, {x:,} × {y:,} pixels, {size}"


def _close(panel: PanelModel, sync: LayerSync, background: Background, *_: Any) -> None:
    panel.forget()
    sync.close()
    background.close()
