"""Inpainting, as a job for the child."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from numpy.typing import NDArray

from napari_virtues.engine import messages
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel

if TYPE_CHECKING:
    from virtues_core.infer import InpaintRequest, InpaintResult, TileDone


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Where the child finds an image: in a file, or, for one that has none, its pixels."""

    name: str
    channels: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None
    path: Path | None = None
    pixels: NDArray[Any] | None = None
    """(C, Y, X), raw units; None where ``path`` is given."""

    @classmethod
    def of(cls, image: MultiplexImage) -> Self:
        """Describe an open image; reads its pixels only if it came from no file."""
        return cls(
            name=image.name,
            channels=image.channels,
            pixel_size_um=image.pixel_size_um,
            path=image.source,
            pixels=None if image.source is not None else image.compute(),
        )

    def open(self) -> MultiplexImage:
        """Return the image, its pixels lazy where they come from a file.

        Raises
        ------
        ReadError
            The file is gone or damaged.
        """
        import dask.array as da

        from virtues_core.read import image_names, read_image

        if self.pixels is not None:
            pixels = da.from_array(self.pixels, chunks=(1, *self.pixels.shape[1:]))
            return MultiplexImage(pixels, self.channels, self.pixel_size_um, self.name)
        if self.path is None:
            message = "an image source has either a path or pixels"
            raise ValueError(message)
        several = image_names(self.path)
        found = read_image(self.path, self.name if self.name in several else None)
        return replace(found, channels=self.channels) if _same_size(self, found) else found


@dataclass(frozen=True, eq=False)
class CohortImage:
    """Another image of the cohort, for ridge regression; its panel is made from its names."""

    path: Path

    def open(self) -> MultiplexImage:
        """Return the image, lazily."""
        from virtues_core.read import read_image

        return read_image(self.path)


@dataclass(frozen=True, eq=False)
class InpaintJob:
    """Inpaint markers, a region or random patches of one image."""

    image: ImageSource
    panel: Panel
    """Of the image's channels, in their order."""
    checkpoint: str
    """"demo", a folder or file, or a name on the hub that was downloaded before."""
    device: str
    """"auto", "cpu", "cuda" or "mps"."""
    request: "InpaintRequest"
    cohort: tuple[CohortImage, ...] = ()

    @property
    def batch_size(self) -> int:
        """Tiles at once."""
        return self.request.batch_size

    def with_batch_size(self, batch_size: int) -> Self:
        """Return the same job with another batch size."""
        return replace(self, request=replace(self.request, batch_size=batch_size))

    def run(self, worker: messages.Worker) -> "InpaintResult":
        """Do it, in the child."""
        from virtues_core.infer import inpaint

        checkpoint = worker.checkpoint(self.checkpoint, self.device)
        worker.emit(messages.Loading("image"))
        image = self.image.open()
        return inpaint(
            image,
            self.panel,
            checkpoint,
            self.request,
            fit_images=tuple(other.open() for other in self.cohort),
            on_tile=lambda tile: worker.emit(_tile(tile)),
            cancelled=worker.cancelled,
        )


def _same_size(source: ImageSource, found: MultiplexImage) -> bool:
    return len(source.channels) == len(found.channels)


def _tile(tile: "TileDone") -> messages.TileDone:
    return messages.TileDone(tile.index, tile.total, tile.origin, tile.channels, tile.prediction)
