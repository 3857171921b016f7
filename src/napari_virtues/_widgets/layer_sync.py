"""Keeps the viewer's layers as the state says: one for each ticked channel, no others."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from napari_virtues._widgets.background import Background
from napari_virtues.layers import (
    channel_layer,
    contrast_limits,
    load_channel,
    ramp,
    sample_of,
)
from napari_virtues.state import AppState, ChannelDisplay, OpenImage, link_of
from virtues_core.image import MultiplexImage

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.viewer import Viewer


class LayerSync:
    """Adds, removes and colours layers as channels are ticked; pixels are read in the background.

    It also listens the other way: a layer that the user deletes unticks its channel.
    """

    def __init__(self, viewer: "Viewer", state: AppState, background: Background) -> None:
        self._viewer = viewer
        self._state = state
        self._background = background
        self._loading: set[tuple[OpenImage, int]] = set()
        self._hidden: dict[OpenImage, WeakSet[Layer]] = {}
        self._connections: list[tuple[Any, Any]] = []
        state.image_added.connect(self._watch)
        state.image_removed.connect(self._remove_all)
        state.active_changed.connect(self._bring_forward)
        viewer.layers.events.removed.connect(self._on_layer_removed)
        for image in state.images:
            self._watch(image)

    def close(self) -> None:
        """Stop listening; layers stay as they are."""
        self._state.image_added.disconnect(self._watch)
        self._state.image_removed.disconnect(self._remove_all)
        self._state.active_changed.disconnect(self._bring_forward)
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._connections.clear()

    def layer(self, image: OpenImage, channel: int) -> "Image | None":
        """Return the layer that shows a channel, if there is one."""
        for layer in self._viewer.layers:
            link = link_of(layer)
            if link is not None and link.image is image.image and link.channel == channel:
                return layer
        return None

    def _watch(self, image: OpenImage) -> None:
        for signal, slot in (
            (image.shown_changed, partial(self._update, image)),
            (image.display_changed, partial(self._restyle, image)),
        ):
            signal.connect(slot)
            self._connections.append((signal, slot))
        self._update(image)

    def _update(self, image: OpenImage) -> None:
        shown = set(image.shown)
        for layer in list(self._viewer.layers):
            link = link_of(layer)
            if link is None or link.image is not image.image or link.channel is None:
                continue
            if link.channel not in shown:
                self._viewer.layers.remove(layer)
        for channel in image.shown:
            if self.layer(image, channel) is None and (image, channel) not in self._loading:
                self._loading.add((image, channel))
                work = partial(_read, image.image, channel, image.display(channel))
                self._background.run(
                    work, partial(self._add, image), partial(self._give_up, image, channel)
                )

    def _add(self, image: OpenImage, ready: "ReadyLayer") -> None:
        channel = ready.channel
        self._loading.discard((image, channel))
        wanted = channel in image.shown and image in self._state.images
        if not wanted or self.layer(image, channel) is not None:
            return
        attributes = ready.attributes
        if len(self._state.images) > 1:
            attributes["name"] += f" · {image.image.name}"
        attributes["visible"] = image is self._state.active
        first = not self._layers_of(image)
        layer = self._viewer.add_image(ready.data, **attributes)
        if not layer.visible:
            self._hidden.setdefault(image, WeakSet()).add(layer)
        elif first:
            self._viewer.fit_to_view(layers=[layer])
        if image.display(channel) != ready.display:  # changed while the pixels were read
            self._restyle(image, channel)

    def _layers_of(self, image: OpenImage) -> "list[Layer]":
        return [layer for layer in self._viewer.layers if self._state.image_of(layer) is image]

    def _give_up(self, image: OpenImage, channel: int) -> None:
        self._loading.discard((image, channel))
        image.hide(channel)

    def _restyle(self, image: OpenImage, channel: int) -> None:
        layer = self.layer(image, channel)
        if layer is None:
            return
        display = image.display(channel)
        if layer.colormap.name != display.color:
            layer.colormap = ramp(display.color)
        pixels = layer.data[-1] if layer.multiscale else layer.data
        self._background.run(
            partial(_limits, pixels, display.percentiles), partial(_set_limits, layer)
        )

    def _bring_forward(self, active: OpenImage | None) -> None:
        """Hide the layers of other images, and show again those that were hidden so."""
        for layer in self._viewer.layers:
            image = self._state.image_of(layer)
            if image is None or image is active:
                continue
            if layer.visible:
                self._hidden.setdefault(image, WeakSet()).add(layer)
                layer.visible = False
        if active is not None:
            for layer in self._hidden.pop(active, ()):
                layer.visible = True
            shown = [layer for layer in self._layers_of(active) if layer.visible]
            if shown:
                self._viewer.fit_to_view(layers=shown)

    def _remove_all(self, image: OpenImage) -> None:
        self._hidden.pop(image, None)
        for layer in list(self._viewer.layers):
            link = link_of(layer)
            if link is not None and link.image is image.image:
                self._viewer.layers.remove(layer)
        self._loading = {(i, c) for i, c in self._loading if i is not image}

    def _on_layer_removed(self, event: Any) -> None:
        link = link_of(event.value)
        image = None if link is None else self._state.find(link.image)
        if image is not None and link.channel is not None:
            image.hide(link.channel)


@dataclass(frozen=True)
class ReadyLayer:
    """A channel's layer, all but added."""

    channel: int
    display: ChannelDisplay
    data: Any
    attributes: dict[str, Any]


def _read(image: MultiplexImage, channel: int, display: ChannelDisplay) -> ReadyLayer:
    data, attributes, _ = channel_layer(image, load_channel(image, channel), display)
    return ReadyLayer(channel, display, data, attributes)


def _limits(pixels: NDArray[Any], percentiles: tuple[float, float]) -> list[float]:
    return contrast_limits(sample_of(np.asarray(pixels)), percentiles)


def _set_limits(layer: "Image", limits: list[float]) -> None:
    if list(layer.contrast_limits) != limits:
        layer.contrast_limits = limits
