"""Every number of a training run, with its default and its reason."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from virtues_core.errors import ConfigError
from virtues_core.model.config import PRESETS, ModelConfig


@dataclass(frozen=True)
class MaskingConfig:
    """What is hidden from a training sample.

    Each sample draws one of three strategies by their weights. The defaults are the paper's:
    independent masking alone.
    """

    independent: float = 1.0
    """Weight of independent masking: every channel draws its own ratio and its own patches."""
    marker: float = 0.0
    """Weight of marker masking: some channels are hidden whole, the others partly."""
    niche: float = 0.0
    """Weight of niche masking: the same patches are hidden in all channels."""
    ratio: tuple[float, float] = (0.6, 1.0)
    """Range of the fraction of patches hidden, in independent and niche masking."""
    marker_fraction: tuple[float, float] = (0.0, 0.35)
    """Range of the fraction of channels hidden whole, in marker masking; one at the least."""
    marker_others: tuple[float, float] = (0.0, 0.6)
    """Range of the fraction of patches hidden in the other channels, in marker masking."""

    def __post_init__(self) -> None:
        for name in ("independent", "marker", "niche"):
            if not getattr(self, name) >= 0:
                message = (
                    f"masking.{name}: expected a weight of 0 or more, got {getattr(self, name)}"
                )
                raise ConfigError(message)
        if not self.independent + self.marker + self.niche > 0:
            message = "masking: expected one of independent, marker, niche to have a weight above 0"
            raise ConfigError(message)
        for name in ("ratio", "marker_fraction", "marker_others"):
            value = tuple(getattr(self, name))
            if len(value) != 2 or not 0 <= value[0] <= value[1] <= 1:
                message = f"masking.{name}: expected [low, high] within 0 to 1, got {list(value)}"
                raise ConfigError(message)
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a pretraining; the defaults are the paper's recipe."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """Sizes of the model; in a file either a preset's name or a table of its fields."""
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    """What is hidden."""
    crop_px: int = 128
    """Side of a training crop."""
    subimage_px: int = 256
    """Side of the windows that an epoch counts; a crop is drawn within one."""
    subimages_per_fit: int = 4
    """Windows per epoch and image, times the number of windows that fit side by side."""
    min_tissue: float = 0.3
    """Least fraction of tissue in a window."""
    channel_dropout: float = 0.25
    """Up to this fraction of the channels is left out of a sample, drawn uniformly."""
    decode_fraction: float = 1.0
    """Fraction of a sample's channels decoded in a step, drawn anew each time: the loss stays
    unbiased, the decoder costs less. 1 as published."""
    epochs: int = 150
    """Passes over the windows, unless ``max_steps`` or ``max_minutes`` ends it before."""
    max_steps: int | None = None
    """Optimiser steps after which the run ends; replaces ``epochs``."""
    max_minutes: float | None = None
    """Minutes of training after which the run ends; the schedules then follow the clock."""
    batch_size: int = 512
    """Crops for one optimiser step, over all devices and accumulated micro-batches."""
    micro_batch_size: int | Literal["auto"] = "auto"
    """Crops that go through the model at once on one device. ``auto`` tries how many fit into its
    memory; on several devices it is the largest divisor up to 16. Running out of memory halves it;
    the batch of an optimiser step stays what it is."""
    dataset_weights: Mapping[str, float] = field(default_factory=dict)
    """How often crops are drawn from each dataset, by its name, relative to the others; none
    draws them by the number of windows."""
    learning_rate: float = 2e-4
    """Peak of the learning rate."""
    final_learning_rate: float = 0.0
    """Where its cosine decay ends."""
    warmup: float = 0.03
    """Fraction of the run over which the learning rate rises linearly."""
    weight_decay: float = 0.04
    """AdamW's weight decay at the start; none on biases, LayerNorms and learned tokens."""
    final_weight_decay: float = 0.04
    """Where its cosine schedule ends."""
    gradient_norm: float = 1.0
    """Gradients are clipped to this norm."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "16-mixed"
    """Arithmetic; ``16-mixed`` becomes ``bf16-mixed`` on a CPU, where float16 is slow."""
    seed: int = 0
    """Decides weights, crops and masks."""
    workers: int = 0
    """Processes that prepare crops; 0 prepares them in the training process."""
    checkpoint_every_steps: int = 200
    """Steps between saved states."""
    validate_every_steps: int = 200
    """Steps between validations."""
    validation_fraction: float = 0.2
    """Fraction of patients (of images where patients are unknown) kept out of training; none
    where there are fewer than five."""
    validation_crops: int = 16
    """Fixed crops that a validation looks at."""
    reconstruct_every_steps: int = 200
    """Steps between pictures of a fixed tile, painted back under the three maskings."""
    accelerator: str = "auto"
    """cpu, gpu, mps or auto."""
    devices: int = 1
    """Devices on each node."""
    nodes: int = 1
    """Nodes of a cluster."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """How several devices share the work: ``ddp`` gives each the whole model; ``fsdp`` parts
    weights, gradients and the optimiser's state among them, for larger models."""

    def __post_init__(self) -> None:
        least = {
            "crop_px": 8, "subimage_px": 8, "subimages_per_fit": 1, "epochs": 1, "batch_size": 1,
            "checkpoint_every_steps": 1, "validate_every_steps": 1, "reconstruct_every_steps": 1,
            "devices": 1, "nodes": 1, "workers": 0, "validation_crops": 1,
        }  # fmt: skip
        if self.micro_batch_size != "auto":
            least["micro_batch_size"] = 1
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                message = f"{name}: expected a whole number of at least {low}, got {value!r}"
                raise ConfigError(message)
        self._check_ranges()
        if self.precision not in {"32-true", "16-mixed", "bf16-mixed"}:
            message = f"precision: expected 32-true, 16-mixed or bf16-mixed, got {self.precision!r}"
            raise ConfigError(message)
        if self.strategy not in {"ddp", "fsdp"}:
            message = f"strategy: expected ddp or fsdp, got {self.strategy!r}"
            raise ConfigError(message)
        self._check_weights()
        if self.crop_px % self.model.patch_size or self.crop_px > self.subimage_px:
            message = (
                f"crop_px: expected a multiple of {self.model.patch_size} up to subimage_px "
                f"({self.subimage_px}), got {self.crop_px}"
            )
            raise ConfigError(message)

    def _check_ranges(self) -> None:
        fractions = ("min_tissue", "channel_dropout", "decode_fraction", "warmup",
                     "validation_fraction")  # fmt: skip
        for name in fractions:
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value <= 1:
                message = f"{name}: expected a fraction from 0 to 1, got {value!r}"
                raise ConfigError(message)
        positive = ("learning_rate", "gradient_norm", "decode_fraction")
        for name in (*positive, "weight_decay", "final_weight_decay", "final_learning_rate"):
            value = getattr(self, name)
            if not _is_number(value) or value < 0 or (name in positive and value == 0):
                message = f"{name}: expected a number above 0, got {value!r}"
                raise ConfigError(message)
        for name in ("max_steps", "max_minutes"):
            value = getattr(self, name)
            if value is not None and (not _is_number(value) or value <= 0):
                message = f"{name}: expected a number above 0 or nothing, got {value!r}"
                raise ConfigError(message)

    def _check_weights(self) -> None:
        weights = self.dataset_weights
        if not isinstance(weights, Mapping) or not all(
            isinstance(name, str) and _is_number(weight) and 0 < weight < math.inf
            for name, weight in weights.items()
        ):
            message = f"dataset_weights: expected a number above 0 for each name, got {weights!r}"
            raise ConfigError(message)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], *, model: ModelConfig | None = None
    ) -> "TrainConfig":
        """Make a config from plain values, as a YAML file holds them; unknown names are refused.

        ``model`` gives the sizes where the values name none.
        """
        values = ({} if model is None else {"model": model}) | dict(values)
        _refuse_unknown(cls, values, "")
        sizes = values.get("model", {})
        if isinstance(sizes, str):
            if sizes not in PRESETS:
                message = f"model: expected one of {', '.join(PRESETS)}, got {sizes!r}"
                raise ConfigError(message)
            values["model"] = PRESETS[sizes]
        elif isinstance(sizes, Mapping):
            values["model"] = ModelConfig.from_dict(sizes)
        masking = values.get("masking", {})
        if isinstance(masking, Mapping):
            _refuse_unknown(MaskingConfig, masking, "masking.")
            values["masking"] = MaskingConfig(**masking)
        return cls(**values)

    @classmethod
    def from_yaml(cls, path: Path, *, model: ModelConfig | None = None) -> "TrainConfig":
        """Read a config file; ``model`` gives the sizes where it names none.

        Raises
        ------
        ConfigError
            The file is no YAML table, names an unknown setting, or a value is out of range.
        """
        import yaml

        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            message = f"{path}: expected a YAML file of settings ({error})."
            raise ConfigError(message) from error
        if not isinstance(values, dict):
            message = f"{path}: expected a table of settings, found {type(values).__name__}."
            raise ConfigError(message)
        return cls.from_dict(values, model=model)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values, fit for YAML or JSON."""
        return dataclasses.asdict(self)


def accumulation(config: TrainConfig) -> int:
    """Micro-batches of an optimiser step.

    Raises
    ------
    ConfigError
        The effective batch is no multiple of what goes through at once.
    """
    if config.micro_batch_size == "auto":
        message = "micro_batch_size: expected a number by now, got auto; see find_micro_batch"
        raise ConfigError(message)
    at_once = config.micro_batch_size * config.devices * config.nodes
    if at_once > config.batch_size or config.batch_size % at_once:
        message = (
            f"batch_size: expected a multiple of micro_batch_size x devices x nodes ({at_once}), "
            f"got {config.batch_size}"
        )
        raise ConfigError(message)
    return config.batch_size // at_once


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_unknown(cls: type[Any], values: Mapping[str, Any], prefix: str) -> None:
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        message = (
            f"unknown setting {', '.join(prefix + str(name) for name in unknown)}; "
            f"expected some of: {', '.join(sorted(known))}"
        )
        raise ConfigError(message)
