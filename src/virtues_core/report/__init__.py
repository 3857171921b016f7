"""The results of an analysis as one HTML page that any browser opens, and figures as SVG."""

from virtues_core.report.figure import COLORS, MUTED, Figure, color
from virtues_core.report.page import Content, Table, write_page, write_report

__all__ = [
    "COLORS",
    "MUTED",
    "Content",
    "Figure",
    "Table",
    "color",
    "write_page",
    "write_report",
]
