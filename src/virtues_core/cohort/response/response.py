"""How patients respond between the times at which their tissue was taken.

For each patient and two times the distance between the cells then and later; for each group of
patients where its cells lie in a plane at each time, and where they move.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients import PatientCells
from virtues_core.cohort.patients.wording import counted, some
from virtues_core.cohort.response.barycentres import Barycentre, barycentre, displacement
from virtues_core.cohort.response.distance import repeated_wasserstein
from virtues_core.cohort.response.groups import GROUPS, compared
from virtues_core.cohort.response.times import in_order, times_of_cells
from virtues_core.cohort.space import METHODS, Method, project
from virtues_core.errors import ConfigError, InputError

if TYPE_CHECKING:
    import pandas as pd

LEAST_CELLS = 10
"""Of a patient at a time; fewer have no distance."""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ResponseConfig:
    """How response is measured; the paper's values where it has them."""

    timepoints: str = ""
    """Time points in their order, with commas between; empty: all, numbers by value, and words from
    baseline, pre and before to post and after."""
    epsilon: float = 1e-3
    """Weight of the entropy in the distance, in units of squared distance between tokens."""
    cells: int = 1000
    """Cells of a patient and time that are carried at once, at the most 5,000: memory and time grow
    with their square. The paper takes all."""
    draws: int = 5
    """How often so many are drawn, where there are more."""
    method: Method = "umap"
    """How cells are laid out in the plane."""
    thin: int = 10
    """One of so many cells is laid out."""
    map_cells: int = 20000
    """At most so many are: the search for neighbours grows with their square."""
    points: int = 500
    """Of a barycentre."""
    bootstrap: int = 1000
    """Draws of patients for the intervals of displacements."""
    seed: int = 0
    """Draws cells and patients."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            expected = _unmet(field.name, value)
            if expected:
                message = f"{field.name}: expected {expected}, found {value!r}."
                raise ConfigError(message)


def _unmet(name: str, value: Any) -> str:
    """Say what was expected of a setting; nothing where that is so."""
    if name == "timepoints":
        return "" if isinstance(value, str) else "names with commas between them"
    if name == "method":
        return "" if value in METHODS else f"one of {', '.join(METHODS)}"
    if name == "epsilon":
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return "" if number and 0 < value < math.inf else "a number above 0"
    least = {"cells": LEAST_CELLS, "map_cells": 100, "seed": 0}.get(name, 1)
    most = 5000 if name in {"cells", "points"} else math.inf
    whole = isinstance(value, int) and not isinstance(value, bool)
    top = f" to {most}" if most < math.inf else " or more"
    return "" if whole and least <= value <= most else f"a whole number, {least}{top}"


@dataclass(frozen=True, eq=False)
class Response:
    """What came of it; tables whose columns `results_of` describes."""

    config: ResponseConfig
    times: tuple[str, ...]
    """In their order."""
    groups: tuple[str, ...]
    """``non-responders`` and ``responders``; ``all`` without an outcome."""
    patients: "pd.DataFrame"
    """A row a patient: group, and the times there are cells of."""
    distances: "pd.DataFrame"
    """A row a patient and pair of times."""
    comparisons: "pd.DataFrame"
    """A row a pair of times and measure; empty without an outcome."""
    mapped: "pd.DataFrame"
    """A row a cell that was laid out: ``row`` of the tables, timepoint, group, map_x, map_y."""
    barycentres: "pd.DataFrame"
    """A row a point: group, timepoint, x, y."""
    displacements: "pd.DataFrame"
    """A row a group and two times that follow one another."""
    notes: tuple[str, ...]


def response(
    joined: PatientCells,
    config: ResponseConfig | None = None,
    *,
    timepoint: str = "",
    progress: Progress | None = None,
) -> Response:
    """Measure how far, and where to, the cells of patients move between times.

    Source: the paper, Methods, "Quantifying treatment responses". Tissues of one patient and time
    are taken together. With an outcome, patients are parted into responders and others.

    Parameters
    ----------
    joined
        Cells and clinical table.
    config
        Settings.
    timepoint
        Column of the tables' ``obs`` that says when; empty: the clinical table's tells it.
    progress
        Told how many steps are done, of how many, and of what kind; what it raises ends the work.

    Raises
    ------
    InputError
        No time points, fewer than two of them, or no patient with cells at two.
    """
    config = config or ResponseConfig()
    told = progress or (lambda *_: None)
    cells = _Cells.of(joined, config, timepoint)
    pairs = list(combinations(range(len(cells.times)), 2))
    wanted = [(p, i, j) for i, j in pairs for p in cells.patients if cells.enough(p, i, j)]
    if not wanted:
        message = (
            f"expected patients with {LEAST_CELLS} cells or more at two of the times "
            f"{', '.join(cells.times)}, found none. Check the columns of patients and time points."
        )
        raise InputError(message)
    steps = len(wanted) + 2
    rows = []
    for done, (patient, i, j) in enumerate(wanted):
        told(done, steps, "distance")
        rows.append(cells.distance(patient, i, j))
    told(len(wanted), steps, "map")
    mapped = cells.laid_out()
    told(len(wanted) + 1, steps, "barycentres")
    points, moves = _moved(mapped, cells.times, cells.groups, config)
    import pandas as pd

    distances = pd.DataFrame(rows)
    told(steps, steps, "done")
    return Response(
        config=config,
        times=cells.times,
        groups=cells.groups,
        patients=cells.table(),
        distances=distances,
        comparisons=compared(distances),
        mapped=mapped,
        barycentres=points,
        displacements=moves,
        notes=(*joined.notes, *cells.notes(), *_notes(distances, config)),
    )


@dataclass(frozen=True, eq=False)
class _Cells:
    """Rows of the tables by patient and time."""

    joined: PatientCells
    config: ResponseConfig
    times: tuple[str, ...]
    rows: dict[tuple[int, int], NDArray[np.int64]]
    """(patient, time) → rows, sorted."""
    group: dict[int, str]
    """Patient → group; those without an outcome have none."""
    unknown: int
    """Cells of these patients of which the time is not known, or not asked for."""

    @classmethod
    def of(cls, joined: PatientCells, config: ResponseConfig, timepoint: str) -> "_Cells":
        number, names = times_of_cells(joined, timepoint)
        codes = np.asarray(joined.codes)
        there = np.unique(number[(number >= 0) & (codes >= 0)])
        times = in_order([names[i] for i in there], config.timepoints)
        place = np.array([times.index(name) if name in times else -1 for name in names] + [-1])
        number = place[number]
        used = np.flatnonzero((codes >= 0) & (number >= 0))
        key = codes[used].astype(np.int64) * len(times) + number[used]
        order = np.argsort(key, kind="stable")
        found, first = np.unique(key[order], return_index=True)
        parts = np.split(used[order], first[1:])
        rows = {
            (int(k) // len(times), int(k) % len(times)): part
            for k, part in zip(found, parts, strict=True)
        }
        group = dict.fromkeys(range(len(joined.patients)), "all")
        if joined.clinical.columns.outcome:
            outcome = joined.clinical.outcome()
            group = {
                p: GROUPS[int(outcome[name])]
                for p, name in enumerate(joined.patients)
                if name in outcome.index
            }
        return cls(joined, config, times, rows, group, int((codes >= 0).sum()) - len(used))

    @property
    def patients(self) -> list[int]:
        return sorted({patient for patient, _ in self.rows})

    @property
    def groups(self) -> tuple[str, ...]:
        there = {self.group[p] for p in self.patients if p in self.group}
        return tuple(name for name in (*GROUPS, "all") if name in there)

    def count(self, patient: int, time: int) -> int:
        return len(self.rows.get((patient, time), ()))

    def enough(self, patient: int, i: int, j: int) -> bool:
        return min(self.count(patient, i), self.count(patient, j)) >= LEAST_CELLS

    def distance(self, patient: int, i: int, j: int) -> dict[str, Any]:
        """Measure one patient between two times."""
        config = self.config
        rng = np.random.default_rng((config.seed, 3, patient, i, j))
        most = config.cells * config.draws
        own = [self.rows[patient, time] for time in (i, j)]
        drawn = [
            rng.permutation(rows)[:most] if len(rows) > most else rng.permutation(rows)
            for rows in own
        ]
        found = repeated_wasserstein(
            self.joined.cells.take(drawn[0]),
            self.joined.cells.take(drawn[1]),
            cells=config.cells,
            draws=config.draws,
            epsilon=config.epsilon,
            seed=config.seed,
        )
        return {
            "patient_id": self.joined.patients[patient],
            "group": self.group.get(patient, ""),
            "from": self.times[i],
            "to": self.times[j],
            "distance": found.distance,
            "low": found.low,
            "high": found.high,
            "shuffled": found.shuffled,
            "excess": math.sqrt(max(0.0, found.distance**2 - found.shuffled**2)),
            "transport": found.transport,
            "exact": found.exact,
            "scale": found.scale,
            "cells_from": len(own[0]),
            "cells_to": len(own[1]),
            "used_from": found.cells[0],
            "used_to": found.cells[1],
            "draws": found.draws,
            "converged": found.converged,
        }

    def laid_out(self) -> "pd.DataFrame":
        """Lay out one cell of each so many, evenly by patient and time."""
        import pandas as pd

        total = sum(map(len, self.rows.values()))
        step = max(self.config.thin, total / self.config.map_cells)
        rng = np.random.default_rng((self.config.seed, 4))
        parts = []
        for (patient, time), rows in sorted(self.rows.items()):
            kept = np.sort(rng.permutation(rows)[: math.ceil(len(rows) / step)])
            parts.append(
                pd.DataFrame(
                    {
                        "row": kept,
                        "patient_id": self.joined.patients[patient],
                        "timepoint": self.times[time],
                        "group": self.group.get(patient, ""),
                    }
                )
            )
        table = pd.concat(parts, ignore_index=True).sort_values("row", ignore_index=True)
        tokens = self.joined.cells.take(table["row"].to_numpy())
        places = project(tokens, self.config.method, seed=self.config.seed)
        return table.assign(map_x=places[:, 0], map_y=places[:, 1])

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "patient_id": self.joined.patients[p],
                    "group": self.group.get(p, ""),
                    "timepoints": "; ".join(
                        t for i, t in enumerate(self.times) if self.count(p, i)
                    ),
                }
                for p in self.patients
            ]
        )

    def notes(self) -> tuple[str, ...]:
        found = [f"time points in this order: {', '.join(self.times)}"]
        if self.unknown:
            found.append(f"left out: {self.unknown:,} cells of no time point, or of another")
        one = [p for p in self.patients if sum(self.count(p, t) >= LEAST_CELLS
                                               for t in range(len(self.times))) < 2]  # fmt: skip
        if one:
            found.append(
                f"without a distance: {counted(len(one), 'patient')} with {LEAST_CELLS} cells or "
                "more at "
                f"fewer than two time points ({some(self.joined.patients[p] for p in one)})"
            )
        lone = [p for p in self.patients if p not in self.group]
        if lone:
            found.append(
                f"in no group: {counted(len(lone), 'patient')} without an outcome "
                f"({some(self.joined.patients[p] for p in lone)})"
            )
        return tuple(found)


def _moved(
    mapped: "pd.DataFrame", times: Sequence[str], groups: Sequence[str], config: ResponseConfig
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Give barycentres of each group and time, and how their medians move."""
    import pandas as pd

    points, moves = [], []
    for group in groups:
        own = mapped[mapped["group"] == group]
        found: list[tuple[dict[str, int], Barycentre] | None] = []
        for time in times:
            clouds = {
                str(patient): rows[["map_x", "map_y"]].to_numpy(np.float64)
                for patient, rows in own[own["timepoint"] == time].groupby("patient_id")
            }
            if not clouds:
                found.append(None)
                continue
            centre = barycentre(list(clouds.values()), points=config.points, seed=config.seed)
            found.append(({name: i for i, name in enumerate(clouds)}, centre))
            x, y = centre.points.T
            points.append(pd.DataFrame({"group": group, "timepoint": time, "x": x, "y": y}))
        for (start, first), (end, second) in pairwise(zip(times, found, strict=True)):
            if first is None or second is None:
                continue
            move = displacement(
                first[0], second[0], first[1], second[1], draws=config.bootstrap, seed=config.seed
            )
            row: dict[str, Any] = {"group": group, "from": start, "to": end}
            for axis, name in enumerate("xy"):
                row |= {
                    name: move.start[axis],
                    f"d{name}": move.vector[axis],
                    f"d{name}_low": np.nan if move.low is None else move.low[axis],
                    f"d{name}_high": np.nan if move.high is None else move.high[axis],
                }
            moves.append(row | {"patients_from": move.patients[0], "patients_to": move.patients[1]})
    return pd.concat(points, ignore_index=True), pd.DataFrame(moves)


def _notes(distances: "pd.DataFrame", config: ResponseConfig) -> list[str]:
    scale = float(distances["scale"].mean())
    found = [
        f"epsilon {config.epsilon:g} is {config.epsilon / scale:.2%} of the mean squared distance "
        f"between cells ({scale:.3g})"
        if scale
        else "all cells lie in one place"
    ]
    if scale and config.epsilon > 0.1 * scale:
        found[0] += ": so much that distances tell of it as well as of the cells"
    open_ends = int((distances["draws"] - distances["converged"]).sum())
    if open_ends:
        found.append(
            f"{open_ends} of {int(distances['draws'].sum())} plans had not converged: go by the "
            "exact distance beside, or take a larger epsilon"
        )
    few = distances[distances[["used_from", "used_to"]].min(axis=1) < config.cells]
    if len(few) and len(few) < len(distances):
        found.append(
            f"{len(few)} of {len(distances)} distances are of fewer than {config.cells:,} cells, "
            "which alone makes them larger: compare excess, which is beyond that of shuffled cells"
        )
    return found
