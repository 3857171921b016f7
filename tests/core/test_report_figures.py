"""Figures of a report as SVG, and what their parts draw."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing
from report_samples import HOSTILE, curves, lung, lung_content, lung_results

from virtues_core.errors import InputError
from virtues_core.report import Content, Figure, draw
from virtues_core.report.figure import svg


def texts(element: str) -> list[str]:
    root = ElementTree.fromstring(element)
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return {figure.name: svg(figure) for figure in lung_content(lung_results()).figures}


def test_each_figure_is_whole_xml_of_its_own_ids(drawn: dict[str, str]) -> None:
    seen: set[str] = set()
    for name, element in drawn.items():
        ElementTree.fromstring(element)
        ids = set(re.findall(r'\bid="([^"]+)"', element))
        assert ids
        assert all(i.startswith(f"{name}-") for i in ids)
        assert not ids & seen
        assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', element)) <= ids
        seen |= ids


def test_text_is_text_and_never_a_formula(drawn: dict[str, str]) -> None:
    found = texts(drawn["bars"])
    assert {"B cells", draw.short(HOSTILE), "AUROC", "0.700", "–"} <= set(found)
    hostile = Figure("name", "", "", lambda f: f.add_subplot().set_title(HOSTILE))
    assert HOSTILE.replace("\x07", "\N{REPLACEMENT CHARACTER}") in texts(svg(hostile))
    assert "<script" not in "".join(drawn.values())


def test_letters_that_the_measuring_font_lacks(recwarn: pytest.WarningsRecorder) -> None:
    figure = Figure("name", "", "", lambda f: f.add_subplot().set_title("患者 甲"))
    assert "患者 甲" in texts(svg(figure))
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_the_same_figure_is_the_same_text(drawn: dict[str, str]) -> None:
    again = {figure.name: svg(figure) for figure in lung_content(lung_results()).figures[:2]}
    assert again == {name: drawn[name] for name in again}


def test_those_at_risk_are_those_of_the_trial() -> None:
    patients = lung()
    drawing = Drawing()
    draw.survival_curves(drawing, curves(patients), time="days")
    drawing.draw_without_rendering()
    top, bottom = drawing.axes
    ticks = [t for t in top.get_xticks() if 0 <= t <= top.get_xlim()[1]]
    told = [int(text.get_text()) for text in bottom.texts]
    groups = sorted(patients["group"].unique())
    expected = [
        int((patients["time"][patients["group"] == g] >= t).sum()) for g in groups for t in ticks
    ]
    assert len(told) == len(expected) > 8
    assert told == expected


def test_curves_begin_at_one_and_step_as_estimated() -> None:
    drawing = Drawing()
    table = curves(lung())
    axes = draw.survival_curves(drawing, table)
    for name, rows in table.groupby("group"):
        line = next(
            line for line in axes.lines if str(line.get_label()).startswith(draw.short(name))
        )
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        assert (x[0], y[0]) == (0, 1)
        np.testing.assert_array_equal(y[1:], rows["survival"])
        assert line.get_drawstyle() == "steps-post"
        assert str(
            line.get_label()
        ) == f"{draw.short(name)} ({rows['at_risk'].iloc[0]} patients, " + (
            f"{rows['events'].sum()} events)"
        )


def test_contours_hold_the_share_that_they_say() -> None:
    points = np.random.default_rng(0).normal(size=(20_000, 2)) * [3, 0.5]
    axes = Drawing().add_subplot()
    draw.density_contours(axes, points, "black")
    (contours,) = axes.collections
    inside = [path.contains_points(points).mean() for path in contours.get_paths()]
    assert sorted(inside) == pytest.approx([0.5, 0.9], abs=0.02)


def test_too_few_points_have_no_contours() -> None:
    axes = Drawing().add_subplot()
    draw.density_contours(axes, np.random.default_rng(0).normal(size=(9, 2)), "black")
    draw.density_contours(axes, np.tile([1.0, 2.0], (50, 1)), "black")
    draw.density_contours(axes, np.empty((0, 2)), "black")
    assert not axes.collections


def test_many_points_are_pixels() -> None:
    def cloud(n: int) -> str:
        places = np.random.default_rng(0).normal(size=(2, n))
        return svg(Figure("p", "", "", lambda f: draw.points(f.add_subplot(), *places)))

    assert "<image" not in cloud(500)
    assert "<image" in cloud(5000)
    assert len(cloud(5000)) < 400_000


def test_names_are_checked() -> None:
    for name in ("", "Curves", "../x", "a b"):
        with pytest.raises(InputError, match="small letters"):
            Figure(name, "", "", lambda _: None)
    figure = Figure("a", "", "", lambda _: None)
    with pytest.raises(InputError, match="names of their own"):
        Content("", (), (figure, figure))


def test_long_names_below_a_heat_map_stand_upright() -> None:
    for names, rotation in ((["absent", "1", "2"], 0), ([f"macrophage {i}" for i in range(9)], 90)):
        axes = draw.heat_map(Drawing(), np.zeros((2, len(names))), ["a", "b"], names)
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}
