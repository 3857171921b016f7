"""A model of tissues on disk: ``model.json`` and ``model.safetensors`` in a folder."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virtues_core.cohort.patients import Seen
from virtues_core.cohort.tissue_level.config import MilConfig
from virtues_core.errors import CheckpointError, ConfigError, ReadError
from virtues_core.files import replacing

if TYPE_CHECKING:
    from virtues_core.cohort.tissue_level.mil import TissueLevel
    from virtues_core.cohort.tissue_level.network import GatedAttention

FOLDER = "model"
"""In the folder of the analysis."""
ABOUT, WEIGHTS = "model.json", "model.safetensors"
FORMAT = 2


@dataclass(frozen=True, eq=False)
class MilModel:
    """Trainings that tell an outcome by a tissue's instances."""

    networks: "tuple[GatedAttention, ...]"
    """One a run."""
    outcome: str
    classes: tuple[str, ...]
    level: str
    """What an instance is: cell or niche."""
    signature: str
    """Of the checkpoint whose tokens these are."""
    told: str
    """How well it did on patients kept out, for people."""
    trained_on: Seen
    config: MilConfig

    @classmethod
    def of(cls, found: "TissueLevel", told: str) -> "MilModel":
        """Take what was trained on all patients."""
        return cls(
            networks=found.networks,
            outcome=found.outcome,
            classes=found.tissues.classes,
            level=found.tissues.cells.level,
            signature=found.tissues.cells.signature,
            told=told,
            trained_on=Seen.of(
                found.tissues.cells,
                dict(zip(found.tissues.names, found.tissues.patients, strict=True)),
            ),
            config=found.config,
        )


def save_mil(model: MilModel, folder: Path) -> None:
    """Write a model; an older one is replaced when the new one is whole.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    weights = {
        f"{run}.{name}": value.detach().cpu().contiguous()
        for run, network in enumerate(model.networks)
        for name, value in network.state_dict().items()
    }
    about = {
        "format": FORMAT,
        "outcome": model.outcome,
        "classes": model.classes,
        "level": model.level,
        "checkpoint_signature": model.signature,
        "told": model.told,
        "trained_on": model.trained_on.as_json(),
        "dim": len(model.networks[0].mean),
        "runs": len(model.networks),
        "settings": dataclasses.asdict(model.config),
    }
    with replacing(folder) as new:
        new.mkdir()
        text = json.dumps(about, indent=1, ensure_ascii=False)
        (new / ABOUT).write_text(f"{text}\n", "utf-8")
        (new / WEIGHTS).write_bytes(save(weights))


def load_mil(folder: Path) -> MilModel:
    """Open the model in the folder of an analysis, or the model's own.

    Raises
    ------
    ReadError
        There is none, or it is damaged or of a later version.
    CheckpointError
        Weights do not fit what is said of them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    own = folder if (folder / ABOUT).is_file() else folder / FOLDER
    if not (own / ABOUT).is_file():
        message = (
            f"expected a folder of `virtues classify fit` at {str(folder)!r}, found no {ABOUT} "
            "there. Check the path."
        )
        raise ReadError(message)
    try:
        about = json.loads((own / ABOUT).read_text("utf-8"))
        if about["format"] != FORMAT:
            message = f"format {about['format']}, where {FORMAT} is known"
            raise ValueError(message)
        weights = load((own / WEIGHTS).read_bytes())
        networks = _networks(about, weights)
        return MilModel(
            networks=networks,
            outcome=str(about["outcome"]),
            classes=tuple(map(str, about["classes"])),
            level=str(about["level"]),
            signature=str(about["checkpoint_signature"]),
            told=str(about["told"]),
            trained_on=Seen.from_json(about["trained_on"]),
            config=MilConfig(**about["settings"]),
        )
    except (OSError, ValueError, TypeError, LookupError, SafetensorError, ConfigError) as error:
        message = (
            f"the model in {str(own)!r} is not whole ({error}). Copy the folder again, or make it "
            "anew with `virtues classify fit`."
        )
        raise ReadError(message) from error


def _networks(about: dict[str, Any], weights: dict[str, Any]) -> "tuple[GatedAttention, ...]":
    from virtues_core.cohort.tissue_level.network import GatedAttention
    from virtues_core.model.strict import load_strictly

    settings = MilConfig(**about["settings"])
    runs, dim, classes = int(about["runs"]), int(about["dim"]), len(about["classes"])
    if not (1 <= runs <= 1000 and 1 <= dim <= 100_000 and classes > 1 and weights):
        message = "sizes that no model has"
        raise ValueError(message)
    found = []
    for run in range(runs):
        own = {
            name.removeprefix(f"{run}."): value
            for name, value in weights.items()
            if name.startswith(f"{run}.")
        }
        if not own:
            message = f"{WEIGHTS} has no weights of run {run}. Copy the folder again."
            raise CheckpointError(message)
        network = GatedAttention(dim, classes, heads=settings.heads, hidden=settings.hidden)
        load_strictly(network, own, "Copy the folder again.")
        found.append(network.eval().requires_grad_(requires_grad=False))
    return tuple(found)
