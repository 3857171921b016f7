"""Settings of tissue-level prediction."""

import math
from dataclasses import dataclass, fields

from virtues_core.errors import ConfigError


@dataclass(frozen=True)
class MilConfig:
    """How tissues are learnt to be told apart; the defaults are the paper's."""

    heads: int = 8
    """Attention heads, each of which weighs the instances of a tissue by itself."""
    hidden: int = 256
    """Width of a head."""
    learning_rate: float = 1e-4
    """Adam's."""
    batch_size: int = 16
    """Tissues a step."""
    epochs: int = 100
    """At the most."""
    patience: int = 10
    """Epochs without a lower loss on the validation's patients after which a training ends."""
    validation: float = 0.2
    """Share of the training patients that a training is stopped by."""
    runs: int = 5
    """Trainings with first weights, orders and validation patients of their own."""
    folds: int = 5
    """Parts into which patients are dealt, each tested by a training on the others; where no column
    says who is tested."""
    split: str = ""
    """Column of the clinical table that says of each patient train or test; empty: folds."""
    instances: int = 1024
    """At most so many cells, niches or patches of a tissue are trained on, drawn once; all are used
    to tell its class."""
    seed: int = 0
    """Draws patients, instances and first weights."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in {"learning_rate", "validation"}:
                top = 0.5 if field.name == "validation" else math.inf
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    raise _out(field.name, "a number", value)
                if not 0 < value <= top or math.isinf(value):
                    raise _out(field.name, f"above 0{' to 0.5' if top < 1 else ''}", value)
            elif field.name == "split":
                if not isinstance(value, str):
                    raise _out(field.name, "the name of a column, or nothing", value)
            else:
                least = {"seed": 0, "folds": 2}.get(field.name, 1)
                if not isinstance(value, int) or isinstance(value, bool) or value < least:
                    raise _out(field.name, f"a whole number, {least} or more", value)


def _out(name: str, expected: str, found: object) -> ConfigError:
    return ConfigError(f"{name}: expected {expected}, found {found!r}.")
