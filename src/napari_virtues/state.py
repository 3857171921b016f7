"""What is open and chosen in one napari window. Evented; knows no Qt.

Docks call the methods and listen to the signals; nobody else changes what is kept here. An image
becomes part of the state as soon as a layer that links to it is added to the viewer, so that a
napari reader, which knows no viewer, needs only to put a `ChannelLink` in the layer's metadata.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_virtues.colors import color_labels_at_once, default_colors
from napari_virtues.composites import (
    Composite,
    CompositeChannel,
    default_path,
    load_composites,
    save_composites,
)
from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_virtues.cells_layers import Cells

LINK = "virtues"
"""Key in ``layer.metadata`` under which a layer's `ChannelLink` is found."""
PERCENTILES = (1.0, 99.7)
"""Percentiles that become black and full colour."""


@dataclass(frozen=True, eq=False)
class ChannelLink:
    """What a layer shows: kept as ``layer.metadata["virtues"]``."""

    image: MultiplexImage
    channel: int | None = None
    """Position of the channel that the layer shows as it is in the file; None for a layer that
    was computed from the image (a reconstruction, a mask)."""


def link_of(layer: "Layer") -> ChannelLink | None:
    """Return what a layer shows; None when it is not one of ours."""
    link = layer.metadata.get(LINK)
    return link if isinstance(link, ChannelLink) else None


def unwrapped(viewer: "ViewerModel") -> "ViewerModel":
    """Return the viewer itself: napari hands docks a proxy, which hands out proxies in turn."""
    return getattr(viewer, "__wrapped__", viewer)


@dataclass(frozen=True)
class ChannelDisplay:
    """How one channel is shown."""

    color: str
    """As ``#rrggbb``."""
    percentiles: tuple[float, float] = PERCENTILES
    """Percentiles of its pixels that become black and full colour."""


class OpenImage:
    """One open image, what its channels are, and how they are shown."""

    shown_changed = Signal()
    """Another set of channels is to be shown."""
    display_changed = Signal(int)
    """The colour or contrast of this channel changed."""
    panel_changed = Signal()
    """A person said what a channel measures, or a panel was loaded."""

    def __init__(self, image: MultiplexImage, panel: Panel | None = None) -> None:
        self.image = image
        self._panel = panel if panel is not None else Panel.from_names(image.channels)
        _check_panel(self._panel, image)
        self._display = [ChannelDisplay(color) for color in default_colors(self._panel)]
        self._shown: tuple[int, ...] = ()

    @property
    def panel(self) -> Panel:
        """What each channel measures."""
        return self._panel

    @panel.setter
    def panel(self, panel: Panel) -> None:
        _check_panel(panel, self.image)
        self._panel = panel
        self.panel_changed.emit()

    def take_panel(self, panel: Panel) -> None:
        """Take over a panel's entries, by the channels' names; channels not in it stay as they are.

        Raises
        ------
        InputError
            None of its names is a channel of this image.
        """
        given = {entry.name: entry for entry in panel.entries}
        if not given.keys() & set(self.image.channels):
            message = (
                f"expected a panel with channels of {self.image.name!r}, such as "
                f"{self.image.channels[0]!r}; found {', '.join(list(given)[:5]) or 'no row'}. "
                "Choose the panel that belongs to this image."
            )
            raise InputError(message)
        self.panel = Panel(tuple(given.get(old.name, old) for old in self._panel.entries))

    @property
    def shown(self) -> tuple[int, ...]:
        """Positions of the channels that are ticked, in the order of ticking."""
        return self._shown

    @shown.setter
    def shown(self, channels: Iterable[int]) -> None:
        shown = tuple(dict.fromkeys(channels))
        if shown != self._shown:
            self._shown = shown
            self.shown_changed.emit()

    def show(self, channel: int) -> None:
        """Tick a channel."""
        self.shown = (*self._shown, channel)

    def hide(self, channel: int) -> None:
        """Untick a channel."""
        self.shown = tuple(c for c in self._shown if c != channel)

    def display(self, channel: int) -> ChannelDisplay:
        """How a channel is, or would be, shown."""
        return self._display[channel]

    def set_color(self, channel: int, color: str) -> None:
        """Change a channel's colour, given as ``#rrggbb``."""
        self._set(channel, replace(self._display[channel], color=color))

    def set_percentiles(self, channels: Iterable[int], low: float, high: float) -> None:
        """Change the contrast of some channels, in percent of their pixels.

        Raises
        ------
        InputError
            Not 0 ≤ low < high ≤ 100.
        """
        if not 0 <= low < high <= 100:
            message = f"expected percentiles 0 ≤ low < high ≤ 100, found {low:g} and {high:g}"
            raise InputError(message)
        for channel in channels:
            self._set(channel, replace(self._display[channel], percentiles=(low, high)))

    def _set(self, channel: int, display: ChannelDisplay) -> None:
        if display != self._display[channel]:
            self._display[channel] = display
            self.display_changed.emit(channel)


class AppState:
    """The open images of one viewer, the active one, and the saved composites."""

    image_added = Signal(OpenImage)
    image_removed = Signal(OpenImage)
    active_changed = Signal(object)
    """Carries the `OpenImage`, or None."""
    composites_changed = Signal()
    cells_changed = Signal(object)
    """Carries the `Cells` that have tokens now."""
    checkpoint_changed = Signal(str)
    """Carries the checkpoint that all docks shall use."""

    def __init__(self, composites_path: Path | None = None) -> None:
        self._images: tuple[OpenImage, ...] = ()
        self._active: OpenImage | None = None
        self._composites_path = composites_path or default_path()
        self._cells: Cells | None = None
        self._checkpoint: str | None = None

    @classmethod
    def of(cls, viewer: "ViewerModel") -> "AppState":
        """Return the state of a viewer, made at the first call and shared by all its docks.

        Layers that are there already, and those that come, are looked at for images.
        """
        viewer = unwrapped(viewer)
        if viewer not in _STATES:
            state = cls()
            _STATES[viewer] = state
            color_labels_at_once()
            viewer.layers.events.inserted.connect(state._on_layer_inserted)
            for layer in viewer.layers:
                state._notice(layer)
        return _STATES[viewer]

    @property
    def images(self) -> tuple[OpenImage, ...]:
        """The open images, oldest first."""
        return self._images

    @property
    def active(self) -> OpenImage | None:
        """The image that the docks speak of."""
        return self._active

    @active.setter
    def active(self, image: OpenImage | None) -> None:
        if image is not self._active:
            self._active = image
            self.active_changed.emit(image)

    @property
    def cells(self) -> "Cells | None":
        """The cells whose tokens were computed last."""
        return self._cells

    @cells.setter
    def cells(self, cells: "Cells") -> None:
        self._cells = cells
        self.cells_changed.emit(cells)

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint that was chosen for all docks, as a path; None while there is none."""
        return self._checkpoint

    @checkpoint.setter
    def checkpoint(self, checkpoint: str) -> None:
        self._checkpoint = checkpoint
        self.checkpoint_changed.emit(checkpoint)

    def add(
        self,
        image: MultiplexImage,
        panel: Panel | None = None,
        shown: Iterable[int] = (),
    ) -> OpenImage:
        """Open an image and make it the active one; the same image is opened only once.

        Parameters
        ----------
        image
            The image.
        panel
            What its channels measure; found out from their names by default.
        shown
            Channels that are ticked from the start, where the image was not open.
        """
        found = self.find(image)
        if found is None:
            found = OpenImage(image, panel)
            found.shown = tuple(shown)
            self._images = (*self._images, found)
            self.image_added.emit(found)
        self.active = found
        return found

    def close(self, image: OpenImage) -> None:
        """Forget an image; the one opened before it becomes active."""
        self._images = tuple(i for i in self._images if i is not image)
        if self._active is image:
            self.active = self._images[-1] if self._images else None
        self.image_removed.emit(image)

    def find(self, image: MultiplexImage) -> OpenImage | None:
        """Return the entry of an image that is open."""
        return next((i for i in self._images if i.image is image), None)

    def image_of(self, layer: "Layer") -> OpenImage | None:
        """Return the open image that a layer shows or was computed from."""
        link = link_of(layer)
        return None if link is None else self.find(link.image)

    @property
    def composites(self) -> tuple[Composite, ...]:
        """The saved composites, read from the user's settings folder."""
        return load_composites(self._composites_path)

    def save_composite(self, name: str) -> Composite:
        """Save what the active image shows under a name, in place of one of the same name.

        Raises
        ------
        InputError
            No name, or nothing is shown.
        """
        name, image = name.strip(), self._active
        if not name or image is None or not image.shown:
            message = "a composite needs a name and at least one ticked channel; tick some first"
            raise InputError(message)
        channels = tuple(
            CompositeChannel(
                image.image.channels[i], image.panel.entries[i].key, image.display(i).color
            )
            for i in image.shown
        )
        composite = Composite(name, channels)
        others = [c for c in self.composites if c.name != name]
        self._keep([*others, composite])
        return composite

    def delete_composite(self, name: str) -> None:
        """Forget a saved composite."""
        self._keep([c for c in self.composites if c.name != name])

    def apply_composite(self, name: str) -> tuple[str, ...]:
        """Show the active image as a saved composite has it.

        Returns
        -------
        tuple of str
            Channels of the composite that the image does not have.

        Raises
        ------
        InputError
            No image is open, no composite has that name, or the image has none of its channels.
        """
        composite = next((c for c in self.composites if c.name == name), None)
        image = self._active
        if image is None or composite is None:
            message = f"no composite {name!r} to show, or no image is open; open an image first"
            raise InputError(message)
        found = {c: _position(c, image) for c in composite.channels}
        here = {c: i for c, i in found.items() if i is not None}
        if not here:
            names = ", ".join(c.name for c in composite.channels)
            message = (
                f"composite {name!r} shows {names}; {image.image.name!r} has none of these. "
                "Choose another composite, or tick channels and save a new one."
            )
            raise InputError(message)
        for channel, index in here.items():
            image.set_color(index, channel.color)
        image.shown = here.values()
        return tuple(c.name for c in composite.channels if c not in here)

    def _keep(self, composites: list[Composite]) -> None:
        save_composites(composites, self._composites_path)
        self.composites_changed.emit()

    def _on_layer_inserted(self, event: Any) -> None:
        self._notice(event.value)

    def _notice(self, layer: "Layer") -> None:
        link = link_of(layer)
        if link is None:
            return
        channels = () if link.channel is None else (link.channel,)
        image = self.find(link.image) or self.add(link.image, shown=channels)
        image.shown = (*image.shown, *channels)


_STATES: "WeakKeyDictionary[ViewerModel, AppState]" = WeakKeyDictionary()
# One state a window, for as long as the window lives; nothing here outlasts it.


def _check_panel(panel: Panel, image: MultiplexImage) -> None:
    if panel.names != image.channels:
        missing = ", ".join([n for n in image.channels if n not in panel.names][:5])
        found = f"{len(panel)} entries" + (f" without {missing}" if missing else "")
        message = (
            f"expected a panel of the {len(image.channels)} channels of {image.name!r} in their "
            f"order, found {found}; load the panel that belongs to this image"
        )
        raise InputError(message)


def _position(channel: CompositeChannel, image: OpenImage) -> int | None:
    """Find a composite's channel in an image: by name, else by marker key."""
    if image.image.channels.count(channel.name) == 1:
        return image.image.index(channel.name)
    keys = [entry.key for entry in image.panel.entries]
    return keys.index(channel.key) if channel.key is not None and channel.key in keys else None
