"""Simulated cohorts: patients, tissues, panels, and outcomes that depend on a known neighbourhood.

Each patient has two burdens, drawn from normal distributions: of immune hubs (CD8 T cells with
dendritic cells) and of suppressive niches (M2 macrophages with regulatory T cells). They set how
much of the patient's tissues these niches cover. The patient's *balance* is
(hub burden - suppressive burden) / √2, a standard normal variable, and

- the log odds of response are logit(response_rate) + effect · balance,
- the log hazard of death is log(baseline) - effect · balance.

Everything else that differs between patients is independent of the outcome.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from virtues_core.errors import ConfigError, InputError
from virtues_core.simulate.config import TissueConfig
from virtues_core.simulate.panels import panel_preset
from virtues_core.simulate.tissue import (
    SimulatedCells,
    SimulatedTissue,
    simulate_cells,
    simulate_tissue,
)

if TYPE_CHECKING:
    import pandas as pd

TIMEPOINTS = ("baseline", "on_treatment")
_HUB_SHARE = 0.035  # of the tissue, at a burden of 0
_ABSENT_BELOW = -0.9  # a patient with a lower burden has no such niche at all
_MEDIAN_MONTHS = 22.0
_WEIBULL_SHAPE = 1.3
_STUDY_MONTHS = 96.0  # who lives longer is censored then


@dataclass(frozen=True)
class CohortConfig:
    """What can be chosen about a cohort."""

    datasets: tuple[str, ...] = ("imc-tumour",)
    """Names of panels; patients are dealt out to them in turn."""
    patients: int = 20
    """Number of patients, over all datasets."""
    tissues_per_patient: int = 2
    """Images of each patient at each time point."""
    size_px: int = 512
    """Side of the images in px of 1 µm; 128 at the least."""
    effect: float = 1.0
    """Log odds ratio of response, and negative log hazard ratio, for one standard deviation of
    the balance of immune hubs and suppressive niches; 0 for none."""
    response_rate: float = 0.4
    """Probability of response of a patient with a balance of 0."""
    timepoints: int = 1
    """1: baseline only; 2: also on treatment, when hubs have grown in responders."""
    censored: float = 0.3
    """About which fraction of patients is lost to follow-up before the event, by chance alone."""
    test_fraction: float = 0.2
    """Fraction of the patients of each dataset in the test split."""
    batch_strength: float = 1.0
    """Batch effects between datasets and images: 1 for the usual size, 0 for none."""
    seed: int = 0
    """The same seed gives the same cohort."""

    def __post_init__(self) -> None:
        if not self.datasets or len(set(self.datasets)) != len(self.datasets):
            message = f"expected different datasets, one at least; found {self.datasets!r}"
            raise ConfigError(message)
        for dataset in self.datasets:
            panel_preset(dataset)
        whole = {
            "patients": len(self.datasets),
            "tissues_per_patient": 1,
            "size_px": 128,
            "seed": 0,
        }
        for name, least in whole.items():
            if getattr(self, name) < least:
                message = f"expected {name} of {least} or more, found {getattr(self, name)!r}"
                raise ConfigError(message)
        if self.timepoints not in (1, 2):
            message = f"expected timepoints of 1 or 2, found {self.timepoints!r}"
            raise ConfigError(message)
        for name in ("response_rate", "censored", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                message = f"expected {name} from 0 to below 1, found {getattr(self, name)!r}"
                raise ConfigError(message)
        if self.response_rate == 0 or not np.isfinite(self.effect) or self.batch_strength < 0:
            message = (
                "expected response_rate above 0, a finite effect and batch_strength of 0 or more; "
                f"found {self.response_rate!r}, {self.effect!r} and {self.batch_strength!r}"
            )
            raise ConfigError(message)


@dataclass(frozen=True, eq=False)
class Cohort:
    """A simulated cohort; tissues are made when they are asked for, one at a time."""

    config: CohortConfig
    """What was asked for."""
    patients: "pd.DataFrame"
    """One row a patient: patient_id, dataset, split, age, sex, stage, response (0 or 1),
    survival_months, event (1 = died, 0 = censored)."""
    truth: "pd.DataFrame"
    """One row a patient, what nobody could know: hub_burden, suppressive_burden, balance,
    response_probability, relative_hazard."""
    tissues: "pd.DataFrame"
    """One row a tissue: tissue_id, dataset, patient_id, specimen_id, modality, split, timepoint
    and the patient's clinical columns."""

    @property
    def clinical(self) -> "pd.DataFrame":
        """`patients` as a clinic has them: without the data set and the split."""
        return self.patients.drop(columns=["dataset", "split"])

    def __len__(self) -> int:
        """Return the number of tissues."""
        return len(self.tissues)

    def __iter__(self) -> Iterator[SimulatedTissue]:
        """Make one tissue after the other."""
        return (self.tissue(name) for name in self.tissues["tissue_id"])

    def tissue(self, tissue_id: str) -> SimulatedTissue:
        """Make one tissue with its image.

        Raises
        ------
        InputError
            No tissue has that name.
        """
        row = self._row(tissue_id)
        return simulate_tissue(
            str(row["dataset"]),
            (self.config.size_px, self.config.size_px),
            seed=self._seed(tissue_id),
            config=self.tissue_config(tissue_id),
            batch_strength=self.config.batch_strength,
            dataset_seed=self.config.seed,
            name=tissue_id,
        )

    def cells(self, tissue_id: str) -> SimulatedCells:
        """Make the cells of one tissue without its image.

        Raises
        ------
        InputError
            No tissue has that name.
        """
        row = self._row(tissue_id)
        return simulate_cells(
            str(row["dataset"]),
            (self.config.size_px, self.config.size_px),
            seed=self._seed(tissue_id),
            config=self.tissue_config(tissue_id),
            name=tissue_id,
        )

    def tissue_config(self, tissue_id: str) -> TissueConfig:
        """Return how much there is of what in one tissue: the patient's own, and some chance."""
        row = self._row(tissue_id)
        place = int(np.flatnonzero(self.patients["patient_id"] == row["patient_id"])[0])
        truth = self.truth.iloc[place]
        rng = np.random.default_rng([self.config.seed, 11, place])
        tumour, lymphoid = rng.beta(4, 4.5), 0.08 * rng.lognormal(0, 0.6)
        infiltration, myeloid = rng.lognormal(0, 0.4), rng.lognormal(0, 0.4)
        vessels, proliferation = 75 * rng.lognormal(0, 0.35), rng.beta(3, 9)
        nest_scale = rng.uniform(65, 130)
        rng = np.random.default_rng([*self._seed(tissue_id), 12])
        hub = float(truth["hub_burden"])
        if row["timepoint"] == TIMEPOINTS[1]:
            hub += 1.0 if row["response"] else -0.3
        glass = rng.random() < 0.35
        return TissueConfig(
            tumour_fraction=float(np.clip(tumour * rng.lognormal(0, 0.15), 0.05, 0.8)),
            nest_scale_um=nest_scale,
            lymphoid_fraction=float(np.clip(lymphoid * rng.lognormal(0, 0.4), 0, 0.4)),
            vessels_per_mm2=vessels,
            tissue_fraction=float(rng.uniform(0.7, 0.97)) if glass else 1.0,
            infiltration=infiltration * rng.lognormal(0, 0.15),
            myeloid=myeloid * rng.lognormal(0, 0.15),
            proliferation=float(np.clip(proliferation, 0.03, 0.7)),
            hub_fraction=_share(rng, hub),
            suppressive_fraction=_share(rng, float(truth["suppressive_burden"])),
        )

    def _row(self, tissue_id: str) -> "pd.Series":
        found = self.tissues[self.tissues["tissue_id"] == tissue_id]
        if len(found) != 1:
            message = (
                f"expected one of the cohort's {len(self)} tissues, found no {tissue_id!r}; "
                "their names are in its tissues table"
            )
            raise InputError(message)
        return found.iloc[0]

    def _seed(self, tissue_id: str) -> tuple[int, int]:
        return (self.config.seed, zlib.crc32(tissue_id.encode()))


def _share(rng: np.random.Generator, burden: float) -> float:
    if burden < _ABSENT_BELOW:
        return 0.0
    return float(min(_HUB_SHARE * np.exp(0.7 * burden) * rng.lognormal(0, 0.2), 0.25))


def simulate_cohort(config: CohortConfig | None = None) -> Cohort:
    """Draw the patients of a cohort, their outcomes and the list of their tissues.

    Parameters
    ----------
    config
        What to draw; the defaults where there is none.

    Returns
    -------
    Cohort
        Its images are made when they are asked for.

    Examples
    --------
    >>> cohort = simulate_cohort(CohortConfig(patients=4, effect=0.0))
    >>> len(cohort), cohort.tissues["modality"].unique().tolist()
    (8, ['imc'])
    """
    config = config or CohortConfig()
    truth = _draw_truth(config)
    patients = _draw_patients(config, truth)
    return Cohort(config, patients, truth, _list_tissues(config, patients))


def _draw_truth(config: CohortConfig) -> "pd.DataFrame":
    import pandas as pd

    rng = np.random.default_rng([config.seed, 9])
    hub, suppressive = rng.standard_normal((2, config.patients))
    balance = (hub - suppressive) / np.sqrt(2)
    odds = config.response_rate / (1 - config.response_rate) * np.exp(config.effect * balance)
    columns = {
        "patient_id": [f"P{number:03d}" for number in range(1, config.patients + 1)],
        "hub_burden": hub,
        "suppressive_burden": suppressive,
        "balance": balance,
        "response_probability": odds / (1 + odds),
        "relative_hazard": np.exp(-config.effect * balance),
    }
    return pd.DataFrame(columns)


def _draw_patients(config: CohortConfig, truth: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    rng = np.random.default_rng([config.seed, 10])
    count = config.patients
    dataset = np.arange(count) % len(config.datasets)
    scale = _MEDIAN_MONTHS / np.log(2) ** (1 / _WEIBULL_SHAPE)
    hazard = truth["relative_hazard"].to_numpy()
    death = scale * rng.weibull(_WEIBULL_SHAPE, count) / hazard ** (1 / _WEIBULL_SHAPE)
    leaving = np.log(2) / _MEDIAN_MONTHS * config.censored / (1 - config.censored)
    lost = np.minimum(rng.exponential(1, count) / max(leaving, 1e-9), _STUDY_MONTHS)
    columns = {
        "patient_id": truth["patient_id"],
        "dataset": np.array(config.datasets)[dataset],
        "split": _draw_split(rng, dataset, config.test_fraction),
        "age": rng.normal(64, 9, count).clip(28, 92).round().astype(int),
        "sex": rng.choice(["female", "male"], count),
        "stage": rng.choice(["I", "II", "III"], count, p=[0.3, 0.4, 0.3]),
        "response": (rng.random(count) < truth["response_probability"]).astype(int),
        "survival_months": np.minimum(death, lost).clip(0.1).round(2),
        "event": (death <= lost).astype(int),
    }
    return pd.DataFrame(columns)


def _draw_split(
    rng: np.random.Generator, dataset: "np.typing.NDArray[np.int64]", fraction: float
) -> list[str]:
    """Put a fraction of each dataset's patients into the test split, one at least of two."""
    split = np.full(len(dataset), "train", dtype=object)
    for which in np.unique(dataset):
        members = rng.permutation(np.flatnonzero(dataset == which))
        tests = round(fraction * len(members))
        if fraction > 0 and len(members) > 1:
            tests = max(tests, 1)
        split[members[:tests]] = "test"
    return [str(name) for name in split]


def _list_tissues(config: CohortConfig, patients: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for patient in patients.to_dict("records"):
        for place, timepoint in enumerate(TIMEPOINTS[: config.timepoints]):
            for number in range(1, config.tissues_per_patient + 1):
                specimen = f"{patient['patient_id']}-{'AB'[place]}"
                row = {
                    "tissue_id": f"{patient['dataset']}_{specimen}{number}",
                    "dataset": patient["dataset"],
                    "patient_id": patient["patient_id"],
                    "specimen_id": specimen,
                    "modality": panel_preset(str(patient["dataset"])).modality,
                    "split": patient["split"],
                    "timepoint": timepoint,
                }
                rows.append(row | {str(k): v for k, v in patient.items() if k not in row})
    return pd.DataFrame(rows)
