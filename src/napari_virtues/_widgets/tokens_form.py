"""The dialog that asks for tokens of images: which images, which model, where to."""

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.form_parts import combo_box, heading, line_up, quiet_label, row
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.model_fields import ModelFields
from napari_virtues._widgets.path_list import PathList
from napari_virtues.cohort_intent import free_folder
from napari_virtues.tokens_intent import TokensIntent, tokens_command
from virtues_core.errors import InputError, VirtuesError
from virtues_core.infer.token_table import EmbedRequest

LEVELS = {"Cells": "cell", "Niches (squares of 128 px)": "niche"}
ABOUT = (
    "A token for each cell or niche, by a job that goes on when this window is closed. Tables that "
    "are there already, made in the same way, are kept."
)
LABEL_PX = 90


class TokensForm(QDialog):
    """Images, model, masks, folder; starts nothing itself."""

    def __init__(self, bridge: EngineBridge, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Tokens from images")
        self.images = PathList("Image files, or folders in the spora layout", 84)
        self.add_images = QPushButton("Images…")
        self.add_folder = QPushButton("Folder…")
        self.clear_images = QPushButton("Clear")
        self.model = ModelFields(bridge, "The model that makes the tokens")
        self.level_box = combo_box("What gets a token; analyses of patients take cells")
        self.masks_line = QLineEdit()
        self.masks_folder = QPushButton("Choose…")
        self.stride_box = QSpinBox()
        self.out_line = QLineEdit()
        self.out_folder = QPushButton("Choose…")
        self.message = MessageBox()
        self.run_button = QPushButton("Make tokens")
        self.command_button = QPushButton("Copy command")
        self._out = ""
        self._describe()
        self._lay_out()
        self._connect()
        self._on_level()

    @property
    def intent(self) -> TokensIntent:
        """What is chosen.

        Raises
        ------
        InputError
            What is missing.
        """
        if not self.images.paths:
            message = "no images; add image files, or a folder in the spora layout"
            raise InputError(message)
        out, masks = self.out_line.text().strip(), self.masks_line.text().strip()
        if not out:
            message = "no folder for the tokens; choose one"
            raise InputError(message)
        return TokensIntent(
            images=tuple(path.absolute() for path in self.images.paths),
            out=_path(out),
            masks=_path(masks) if masks else None,
            checkpoint=self.model.checkpoint,
            device=self.model.device,
            level=self.level_box.currentData(),
            stride_px=self.stride_box.value(),
        )

    def add(self, paths: list[str]) -> None:
        """Add images, or folders of them."""
        self.images.add(paths)
        self._on_changed()

    def copy_command(self) -> None:
        """Put the command that does the same on the clipboard."""
        try:
            command = tokens_command(self.intent)
        except VirtuesError as error:
            self.message.say(str(error))
            return
        QApplication.clipboard().setText(command)
        self.message.say(f"Copied: {command}", "note")

    def _on_changed(self, *_: Any) -> None:
        """Name a new folder beside the images, unless a person named one."""
        self.message.say("")
        if self.out_line.text() == self._out and self.images.paths:
            self._out = str(free_folder(self.images.paths[0].absolute().parent, "tokens"))
            self.out_line.setText(self._out)

    def _on_level(self, *_: Any) -> None:
        level = self.level_box.currentData()
        self.stride_box.setValue(EmbedRequest(level=level).stride)
        for widget in (self.masks_line, self.masks_folder):
            widget.setEnabled(level == "cell")
        self.message.say("")

    def _clear(self) -> None:
        self.images.clear()
        self._on_changed()

    def _describe(self) -> None:
        self.add_images.setToolTip("Add image files")
        self.add_folder.setToolTip("Add a folder in the spora layout, or an image that is a folder")
        for name, level in LEVELS.items():
            self.level_box.addItem(name, level)
        self.masks_line.setPlaceholderText("named as the images; a spora folder has its own")
        self.masks_line.setToolTip("Folder of label images of the cells, named as the images")
        self.stride_box.setRange(1, 128)
        self.stride_box.setSuffix(" px")
        self.stride_box.setToolTip(
            "Step from tile to tile: a small one looks at each cell several times and takes longer"
        )
        self.out_line.setPlaceholderText("a new folder, or one with tokens of these images")
        self.out_line.setToolTip("Where a table for each image is written")
        self.run_button.setToolTip("Start it; it goes on when this window is closed")
        self.command_button.setToolTip("Copy the command that does the same in a terminal")

    def _lay_out(self) -> None:
        self.setMinimumWidth(440)
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.addWidget(quiet_label(ABOUT))
        layout.addWidget(heading("Images"))
        layout.addWidget(self.images)
        layout.addLayout(row(self.add_images, self.add_folder, self.clear_images))
        layout.addWidget(heading("Tokens"))
        form = self.model.form
        form.addRow("Of", self.level_box)
        form.addRow("Masks", row(self.masks_line, self.masks_folder))
        form.addRow("Stride", self.stride_box)
        form.addRow("Written to", row(self.out_line, self.out_folder))
        line_up(form, LABEL_PX)
        layout.addWidget(self.model)
        layout.addWidget(self.message)
        layout.addLayout(row(self.run_button, self.command_button))
        layout.addStretch()
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(False)  # else Enter in a line presses one

    def _connect(self) -> None:
        self.add_images.clicked.connect(lambda: dialogs.ask_images(self, self.add, "Images"))
        self.add_folder.clicked.connect(
            lambda: dialogs.ask_any_folder(
                self, "Folder in the spora layout", lambda path: self.add([path])
            )
        )
        self.clear_images.clicked.connect(self._clear)
        self.level_box.currentIndexChanged.connect(self._on_level)
        self.masks_folder.clicked.connect(
            lambda: dialogs.ask_any_folder(self, "Masks of the cells", self.masks_line.setText)
        )
        self.out_folder.clicked.connect(
            lambda: dialogs.ask_save(self, "Tokens in", self._out, "", self.out_line.setText)
        )
        self.command_button.clicked.connect(self.copy_command)


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()
