"""Results as an analysis writes them, of a real trial: 228 patients with lung cancer."""

from pathlib import Path

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from lifelines.datasets import load_lung
from lifelines.statistics import logrank_test

from virtues_core.cohort.patients.results import Results, write_results
from virtues_core.report import Content, Figure, Table, draw

HOSTILE = '<script>document.title="taken"</script>$x_1$&"\'\x07'
"""What may stand in a clinical table."""
WIDE = pd.DataFrame({f"neighbourhood{i}": ["macrophage" if i < 3 else i / 7] for i in range(13)})
"""More columns than a page has room for."""
COMMAND = "virtues stratify cells --clinical lung.csv --patient id --time time --event status"


def curves(lung: pd.DataFrame) -> pd.DataFrame:
    """Kaplan–Meier curves by sex, in the layout that `draw.survival_curves` takes."""
    tables = []
    for name, own in lung.groupby("group", sort=True):
        fitted = KaplanMeierFitter().fit(own["time"], own["status"])
        counted = fitted.event_table.iloc[1:]
        band = fitted.confidence_interval_survival_function_.loc[counted.index]
        tables.append(
            pd.DataFrame(
                {
                    "group": name,
                    "time": counted.index.to_numpy(float),
                    "survival": fitted.survival_function_at_times(counted.index).to_numpy(),
                    "lower": band.iloc[:, 0].to_numpy(),
                    "upper": band.iloc[:, 1].to_numpy(),
                    "at_risk": counted["at_risk"].to_numpy(),
                    "events": counted["observed"].to_numpy(),
                    "censored": counted["censored"].to_numpy(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def lung() -> pd.DataFrame:
    """Patients of the trial, the groups named by sex; one name is hostile."""
    found = load_lung()
    found["group"] = np.where(found["sex"] == 1, "men", HOSTILE)
    found.index = pd.Index([f"P{i:03d}" for i in range(len(found))], name="patient_id")
    return found


def lung_results() -> Results:
    """Survival by sex, as the stratification of a cohort would be written."""
    patients = lung()
    men, women = (own for _, own in patients.groupby(patients["sex"]))
    test = logrank_test(men["time"], women["time"], men["status"], women["status"])
    return Results(
        analysis="stratify",
        summary={
            "logrank_p": test.p_value,
            "groups": 2,
            "settings": {"states": 120, "alpha": 0.05, "covariates": ["age", HOSTILE]},
            "columns": {"patient": "id", "time": "time", "event": "status"},
            "command": COMMAND,
            "folder": "/data/lung",
        },
        patients=patients[["group", "time", "status"]].reset_index(),
        cells=None,
        tables={"curves": curves(patients), "ages": ages(patients), "wide": WIDE},
        plots=(),
        notes=("3 patients have no image: P001, P002, P003.", f"Spelt two ways: {HOSTILE}"),
    )


def ages(patients: pd.DataFrame) -> pd.DataFrame:
    """Mean age by group; of one group it is not told."""
    counts = patients["group"].value_counts().sort_index()
    return pd.DataFrame(
        {"group": counts.index, "patients": counts.to_numpy(), "mean age": [62.123456, np.nan]}
    )


def lung_content(results: Results) -> Content:
    """All parts of `draw` once."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(4000, 2)) + np.repeat([[0, 0], [4, 1]], 2000, axis=0)
    labels = ["B cells", HOSTILE, "absent"]
    shares = pd.DataFrame(rng.dirichlet(np.ones(9), 3), index=labels, columns=list("abcdefghi"))
    return Content(
        title=f"Survival by {HOSTILE}",
        headline=("Log-rank p = 0.001 over 228 patients.", HOSTILE),
        figures=(
            Figure("curves", "Survival", HOSTILE,
                   lambda f: draw.survival_curves(f, results.tables["curves"], time="days")),
            Figure("bars", "Bars", "Three bars.",
                   lambda f: draw.bars(f.add_subplot(), labels, [0.7, 0.4, np.nan],
                                       lower=[0.6, 0.2, np.nan], upper=[0.8, 0.6, np.nan],
                                       title="AUROC")),
            Figure("ratios", "Ratios", "One is missing.",
                   lambda f: draw.intervals(f.add_subplot(), labels, [2, 0.5, np.nan],
                                            [1.1, 0.2, np.nan], [9, 0.9, np.nan],
                                            title="risk ratio")),
            Figure("heat", "Heat", "Centred.",
                   lambda f: draw.heat_map(f, [[1, -2, np.nan], [0.1, 0, 2]], labels[:2], "xyz",
                                           title="z", centred=True, written=True)),
            Figure("map", "Map", "4,000 cells.",
                   lambda f: draw.points(f.add_subplot(), *places.T,
                                         np.repeat(["a", HOSTILE], 2000))),
            Figure("shares", "Shares", "Nine types.",
                   lambda f: draw.shares(f.add_subplot(), shares)),
            Figure("chance", "Chance", "200 permutations.",
                   lambda f: draw.chance(f.add_subplot(), rng.normal(0.5, 0.1, 200), 0.81,
                                         title="AUROC"), size_in=(6.4, 2.4)),
        ),
        tables={"ages": Table("Ages", f"Mean {HOSTILE}."), "curves": Table("Curves"),
                "wide": Table("Wide"), "patients": Table("Patients")},
        methods=f"States by k-means.\n\nGroups were {HOSTILE} merged.",
    )  # fmt: skip


def lung_folder(folder: Path) -> Path:
    """Write the analysis folder."""
    write_results(lung_results(), folder)
    return folder
