"""``virtues info``: what is in an image file."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtues_core.cli._options import ImageName, ImagePath

if TYPE_CHECKING:
    from virtues_core.image import MultiplexImage
    from virtues_core.markers import Panel


def register(app: typer.Typer) -> None:
    """Add ``info`` to the command line."""
    app.command("info")(info)


def info(
    path: ImagePath,
    image: ImageName = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show size, type, pixel size and channels of an image, and what each channel measures."""
    from virtues_core.markers import Panel
    from virtues_core.read import image_names, read_image

    images = image_names(path)
    opened = read_image(path, image)
    panel = Panel.from_names(opened.channels)
    if as_json:
        typer.echo(json.dumps(_described(opened, panel, images)))
    else:
        typer.echo(_told(opened, panel, images))


def _described(image: "MultiplexImage", panel: "Panel", images: tuple[str, ...]) -> dict[str, Any]:
    """Describe an image by the keys that other programs rely on."""
    described: dict[str, Any] = {
        "shape": list(image.shape),
        "dtype": str(image.pixels.dtype),
        "pixel_size_um": list(image.pixel_size_um) if image.pixel_size_um else None,
        "channels": [
            {
                "name": entry.name,
                "accession": entry.accession,
                "status": entry.status,
                "source": entry.source,
            }
            for entry in panel.entries
        ],
    }
    if len(images) > 1:
        described["images"] = list(images)
    return described


def _told(image: "MultiplexImage", panel: "Panel", images: tuple[str, ...]) -> str:
    """Describe an image in words and a table."""
    channels, height, width = image.shape
    size = (
        "unknown pixel size"
        if image.pixel_size_um is None
        else "{:g} × {:g} µm a pixel (y, x)".format(*image.pixel_size_um)
    )
    lines = [
        f"{image.name}: {channels} channels, {height} × {width} px (y, x), "
        f"{image.pixels.dtype}, {size}"
    ]
    if image.levels:
        sizes = ", ".join(f"{level.shape[1]} × {level.shape[2]}" for level in image.levels)
        lines.append(f"pyramid levels: {sizes}")
    if len(images) > 1:
        lines.append(f"images in the file: {', '.join(images)}")
    rows = [("channel", "accession", "status", "source")]
    rows += [(e.name, e.accession or "-", e.status, e.source or "-") for e in panel.entries]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines += [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join(lines)
