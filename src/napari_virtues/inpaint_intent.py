"""What a person chose in the *Inpaint* dock → the job that the engine gets. Knows no Qt."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_virtues.engine import CohortImage, ImageSource, InpaintJob
from napari_virtues.state import OpenImage
from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer import InpaintRequest
from virtues_core.read import read_labels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer, Shapes


@dataclass(frozen=True, eq=False)
class RegionSource:
    """Where a region comes from: a layer of the window, or a mask file."""

    layer: "Layer | None" = None
    path: Path | None = None
    drawn: "_Labelled | _Drawing | None" = None
    """What the layer held when Run was pressed."""

    @property
    def name(self) -> str:
        """What to call it in a list."""
        if self.path is not None:
            return self.path.name
        return self.layer.name if self.layer is not None else ""

    def frozen(self) -> Self:
        """Return the source with what its layer holds now, for another thread."""
        from napari.layers import Labels, Shapes

        if isinstance(self.layer, Labels):
            only = self.layer.selected_label if self.layer.show_selected_label else None
            return type(self)(self.layer, drawn=_Labelled(_finest(self.layer), only))
        if isinstance(self.layer, Shapes):
            return type(self)(self.layer, drawn=_Drawing.of(self.layer))
        return self

    def mask(self, image: MultiplexImage) -> NDArray[np.bool_]:
        """Return what is hidden: (Y, X).

        Raises
        ------
        InputError
            The layer has another size, or covers nothing.
        ReadError
            The file is missing, damaged, or of another size.
        """
        return self.numbered(image) > 0

    def numbered(self, image: MultiplexImage) -> NDArray[Any]:
        """Return the number of the region of each pixel: (Y, X); 0 in none.

        Shapes are numbered from 1, later ones over earlier ones; labels are numbers already.

        Raises
        ------
        InputError, ReadError
            As `mask`.
        """
        shape = image.shape[1:]
        if self.path is not None:
            return _not_empty(read_labels(self.path, shape), self.name)
        if self.drawn is None:
            message = f"{self.name!r} is neither a Labels nor a Shapes layer; choose another"
            raise InputError(message)
        labels = self.drawn.numbered(image)
        if labels.shape != shape:
            message = (
                f"expected a region of the image's size {shape} (y, x) px, found {labels.shape} "
                f"in {self.name!r}; choose a layer that was drawn on this image"
            )
            raise InputError(message)
        return _not_empty(labels, self.name)


def _not_empty(labels: NDArray[Any], name: str) -> NDArray[Any]:
    if not (labels > 0).any():
        message = f"{name!r} covers nothing of the image; draw a region, then run"
        raise InputError(message)
    return labels


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Pixels of a Labels layer."""

    labels: Any
    only: int | None
    """The only label that counts; None: all but 0."""

    def numbered(self, _image: MultiplexImage) -> NDArray[Any]:
        labels = np.asarray(self.labels)
        return labels if self.only is None else np.where(labels == self.only, labels, 0)


@dataclass(frozen=True, eq=False)
class _Drawing:
    """Shapes, in world coordinates."""

    vertices: tuple[NDArray[Any], ...]
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, layer: "Shapes") -> Self:
        world = tuple(
            np.stack([np.asarray(layer.data_to_world(v))[-2:] for v in shape])
            for shape in layer.data
        )
        return cls(world, tuple(str(kind) for kind in layer.shape_type))

    def numbered(self, image: MultiplexImage) -> NDArray[Any]:
        from napari.layers import Shapes

        labels = np.zeros(image.shape[1:], dtype=np.int32)
        if self.vertices:
            size = np.asarray(image.pixel_size_um or (1.0, 1.0))
            pixels = [vertices / size for vertices in self.vertices]
            drawn = Shapes(pixels, shape_type=list(self.kinds))
            for number, mask in enumerate(drawn.to_masks(labels.shape), start=1):
                labels[mask] = number
        return labels


@dataclass(frozen=True, eq=False)
class Intent:
    """What was chosen when Run was pressed."""

    opened: OpenImage
    strategy: str
    markers: tuple[str, ...]
    region: RegionSource | None
    checkpoint: str
    device: str
    cohort: tuple[Path, ...] = ()
    numbers: dict[str, int] = field(default_factory=dict)
    """Other fields of the request, by name."""


def region_sources(viewer: "ViewerModel") -> tuple[RegionSource, ...]:
    """Return the layers that a region can be taken from."""
    from napari.layers import Labels, Shapes

    return tuple(
        RegionSource(layer) for layer in viewer.layers if isinstance(layer, Labels | Shapes)
    )


def job_of(intent: Intent) -> InpaintJob:
    """Resolve what was chosen into a job. Reads files: not for the GUI's thread.

    Raises
    ------
    InputError
        The region does not fit the image.
    ReadError
        The mask file cannot be read.
    """
    image = intent.opened.image
    region = None if intent.region is None else intent.region.mask(image)
    request = InpaintRequest(
        strategy=intent.strategy, markers=intent.markers, region=region, **intent.numbers
    )
    return InpaintJob(
        image=ImageSource.of(image),
        panel=intent.opened.panel,
        checkpoint=intent.checkpoint,
        device=intent.device,
        request=request,
        cohort=tuple(CohortImage(path) for path in intent.cohort),
    )


def _finest(layer: "Labels") -> Any:
    return layer.data[0] if layer.multiscale else layer.data
