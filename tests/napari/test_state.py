"""What is open and chosen."""

import json

import pytest
from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy

from napari_virtues.colors import default_colors, first_channels
from napari_virtues.composites import load_composites
from napari_virtues.state import AppState, ChannelLink, OpenImage, link_of
from virtues_core.errors import ConfigError, InputError
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel


def test_one_state_a_viewer_through_napari_s_proxy_too(viewer):
    state = AppState.of(viewer)
    assert AppState.of(PublicOnlyProxy(viewer)) is state
    assert AppState.of(ViewerModel()) is not state


def test_a_linked_layer_opens_its_image_and_ticks_its_channel(viewer, image):
    state = AppState.of(viewer)
    layer = viewer.add_image(image.pixels[2], metadata={"virtues": ChannelLink(image, 2)})
    assert [i.image for i in state.images] == [image]
    assert state.active.shown == (2,)
    assert state.image_of(layer) is state.active
    assert link_of(layer).channel == 2
    assert state.image_of(viewer.add_image(image.pixels[1])) is None


@pytest.mark.parametrize("chosen", ["fastest_available", "numba"])
def test_labels_are_coloured_without_compiling_unless_the_user_wants_that(
    viewer, monkeypatch, chosen
):
    from napari.settings import get_settings
    from napari.utils import colormap_backend as backends

    before = backends.get_backend()
    wanted = backends.ColormapBackend[chosen]
    monkeypatch.setattr(get_settings().experimental, "colormap_backend", wanted)
    backends.set_backend(wanted)
    AppState.of(viewer)
    compiles = backends.get_backend() != backends.ColormapBackend.pure_python
    backends.set_backend(before)
    assert compiles == (chosen == "numba")


def test_layers_that_were_there_before_the_state_are_found(viewer, image):
    viewer.add_image(image.pixels[0], metadata={"virtues": ChannelLink(image, 0)})
    assert AppState.of(viewer).images[0].shown == (0,)


def test_opening_twice_and_closing(viewer, image):
    state = AppState.of(viewer)
    first = state.add(image)
    second = state.add(image.select([0, 1]))
    assert state.add(image) is first
    assert state.active is first
    state.close(first)
    assert state.active is second
    state.close(second)
    assert state.active is None


def test_signals_say_what_changed(image):
    opened = OpenImage(image)
    said = []
    opened.shown_changed.connect(lambda: said.append("shown"))
    opened.display_changed.connect(said.append)
    opened.show(3)
    opened.show(3)
    opened.set_color(1, "#123456")
    opened.set_percentiles((1, 2), 2, 98)
    opened.hide(3)
    assert said == ["shown", 1, 1, 2, "shown"]
    assert opened.display(2).percentiles == (2, 98)


@pytest.mark.parametrize("wrong", [(50, 50), (-1, 99), (1, 101)])
def test_percentiles_out_of_range_are_refused(image, wrong):
    with pytest.raises(InputError, match="expected percentiles 0 ≤ low < high ≤ 100, found"):
        OpenImage(image).set_percentiles((0,), *wrong)


def test_a_panel_of_another_image_is_refused(image):
    opened = OpenImage(image)
    with pytest.raises(InputError, match="expected a panel with channels of 'spleen'"):
        opened.take_panel(Panel.from_names(["CD4"]))
    with pytest.raises(InputError, match="expected a panel of the 6 channels of 'spleen'"):
        opened.panel = Panel.from_names(["CD4"])


def test_a_panel_in_another_order_is_taken_by_name(image):
    opened = OpenImage(image)
    opened.take_panel(Panel.from_names(["xyzzy", "CD20_Dy161"]).assign("xyzzy", accession="P08575"))
    assert opened.panel.names == image.channels
    assert opened.panel["xyzzy"].accession == "P08575"


def test_a_view_is_kept_and_found_by_marker_in_another_image(settings, image):
    state = AppState()
    state.add(image).shown = (0, 3)
    state.active.set_color(3, "#ff0000")
    state.save_composite(" T cells ")
    assert json.loads((settings / "composites.json").read_text())[0]["name"] == "T cells"

    other = MultiplexImage(image.pixels[:3], ("Hoechst", "CD8", "CD4"), name="other")
    again = AppState()
    again.add(other)
    assert again.apply_composite("T cells") == ()
    assert again.active.shown == (0, 1)
    assert again.active.display(1).color == "#ff0000"
    again.delete_composite("T cells")
    assert again.composites == ()


def test_a_view_says_which_channels_are_missing(settings, image):
    state = AppState()
    state.add(image).shown = (1, 5)
    state.save_composite("odd")
    state.add(image.select([0, 1]))
    assert state.apply_composite("odd") == ("xyzzy",)
    state.add(image.select([4]))
    with pytest.raises(InputError, match="'odd' shows CD20_Dy161, xyzzy; 'spleen' has none"):
        state.apply_composite("odd")


def test_nothing_to_save_or_show(settings, image):
    state = AppState()
    with pytest.raises(InputError, match="at least one ticked channel"):
        state.save_composite("x")
    with pytest.raises(InputError, match="no composite 'x' to show"):
        state.apply_composite("x")


def test_a_damaged_file_of_views_is_named(tmp_path):
    path = tmp_path / "composites.json"
    path.write_text('{"a": 1}')
    with pytest.raises(ConfigError, match=r"expected saved composites in .*composites.json"):
        load_composites(path)


def test_first_channels_and_colours_tell_the_structure():
    panel = Panel.from_names(["89Y", "CD4", "H3K27me3", "CD20", "DNA1_Ir191", "DNA2_Ir193"])
    assert first_channels(panel) == (4, 3, 1, 2)
    colors = default_colors(panel)
    assert colors[4] == colors[5]
    assert len({colors[i] for i in (4, 3, 1, 2)}) == 4
    assert first_channels(Panel.from_names(["89Y", "131Xe"])) == (0,)


def test_a_checkpoint_for_all_docks_is_told_and_kept():
    state = AppState()
    told = []
    state.checkpoint_changed.connect(told.append)
    assert state.checkpoint is None
    state.checkpoint = "/runs/mine/checkpoint"
    assert (state.checkpoint, told) == ("/runs/mine/checkpoint", ["/runs/mine/checkpoint"])
