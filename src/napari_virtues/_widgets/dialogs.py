"""What docks ask in dialogs; the answer goes to a function, none where declined."""

from collections.abc import Callable

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_virtues.engine import Terms

IMAGES = "Images (*.tif *.tiff *.btf *.mcd *.txt);;All files (*)"
MASKS = "Masks (*.tif *.tiff *.png *.npz);;All files (*)"
EMBEDDINGS = "Embeddings (*.safetensors);;All files (*)"
TABLES = "Tables of cells (*.h5ad);;All files (*)"
CLINICAL = "Tables (*.csv *.tsv *.parquet);;All files (*)"
WEIGHTS = "Weights (*.safetensors *.pt);;All files (*)"


def ask_open(parent: QWidget, title: str, files: str, use: Callable[[str], None]) -> None:
    """Ask for a file to open; ``files`` says which, as Qt's filters do."""
    path, _ = QFileDialog.getOpenFileName(parent, title, filter=files)
    if path:
        use(path)


def ask_images(
    parent: QWidget, use: Callable[[list[str]], None], title: str = "Other images of the cohort"
) -> None:
    """Ask for image files, by default other ones of the cohort."""
    paths, _ = QFileDialog.getOpenFileNames(parent, title, filter=IMAGES)
    if paths:
        use(paths)


def ask_tables(parent: QWidget, use: Callable[[list[str]], None]) -> None:
    """Ask for tables of cells."""
    paths, _ = QFileDialog.getOpenFileNames(parent, "Tables of cells", filter=TABLES)
    if paths:
        use(paths)


def ask_any_folder(parent: QWidget, title: str, use: Callable[[str], None]) -> None:
    """Ask for a folder that is there."""
    path = QFileDialog.getExistingDirectory(parent, title)
    if path:
        use(path)


def ask_folder(parent: QWidget, use: Callable[[str], None]) -> None:
    """Ask for a checkpoint's folder."""
    ask_any_folder(parent, "Folder of a checkpoint", use)


def ask_save(
    parent: QWidget, title: str, name: str, files: str, use: Callable[[str], None]
) -> None:
    """Ask where to save something that is first called ``name``."""
    path, _ = QFileDialog.getSaveFileName(parent, title, name, files)
    if path:
        use(path)


def accept_licence(parent: QWidget, terms: Terms) -> bool:
    """Show a licence and ask whether it is accepted."""
    answer = QMessageBox.question(
        parent,
        f"Download {terms.name}?",
        f"{terms.name} comes from the Hugging Face hub under this licence:\n\n"
        f"{terms.licence}\n\nAccept it and download the model (about 170 MB)?",
    )
    return bool(answer == QMessageBox.StandardButton.Yes)


def confirm(parent: QWidget, title: str, text: str) -> bool:
    """Ask before something that cannot be undone."""
    return bool(QMessageBox.question(parent, title, text) == QMessageBox.StandardButton.Yes)
