"""Tissues in one file on disk: niche tokens, thumbnails, clinical values; the nearest of a query.

An SQLite file (`virtues_core.cohort.retrieval.store`). What is added is there whole or not at all,
however the process ends; several processes may read it while one writes. Each call opens the file
for itself, so that threads may share a `TissueDatabase`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.retrieval import store
from virtues_core.cohort.retrieval.distance import Tokens, check_tokens, nearest_sets
from virtues_core.cohort.retrieval.entries import Match, Search, Settings, Stored, TissueEntry
from virtues_core.cohort.retrieval.store import transaction
from virtues_core.errors import CheckpointError, InputError, ReadError
from virtues_core.files import replacing


class TissueDatabase:
    """Tissues that can be searched by their niche tokens; see `create` and `open`.

    Parameters
    ----------
    path
        The file, absolute.
    settings
        What all its tissues have in common.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings

    @classmethod
    def create(cls, path: Path | str, settings: Settings) -> "TissueDatabase":
        """Make an empty database.

        Raises
        ------
        InputError
            Something is at that path.
        VirtuesError
            The disk is full or the folder cannot be written.
        """
        path = Path(path).absolute()
        if path.exists():
            message = (
                f"expected a new file for the database, found something at {str(path)!r}. Add to "
                "it with `virtues db add`, or choose another name."
            )
            raise InputError(message)
        with replacing(path) as new:
            new.parent.mkdir(parents=True, exist_ok=True)
            store.make(new, settings)
        return cls(path, settings)

    @classmethod
    def open(cls, path: Path | str) -> "TissueDatabase":
        """Open a database.

        Raises
        ------
        ReadError
            Nothing is there, something else is, it is damaged, or made by a newer version.
        """
        path = Path(path).absolute()
        if not path.is_file():
            what = "a folder" if path.is_dir() else "nothing"
            message = (
                f"expected a database of tissues at {str(path)!r}, found {what}. Check the path, "
                "or make one with `virtues db build`."
            )
            raise ReadError(message)
        with transaction(path) as connection:
            return cls(path, store.read_settings(connection, path))

    def __len__(self) -> int:
        with transaction(self.path) as connection:
            return store.count(connection)

    def __contains__(self, tissue_id: str) -> bool:
        with transaction(self.path) as connection:
            return store.find(connection, tissue_id) is not None

    def check_checkpoint(self, signature: str, name: str = "") -> None:
        """Hold tokens to the checkpoint of the database: others cannot be compared.

        Raises
        ------
        CheckpointError
            They are of another checkpoint.
        """
        if signature != self.settings.signature:
            message = (
                f"expected tokens of the checkpoint {self.settings.checkpoint!r} (signature "
                f"{self.settings.signature[:8]}), which made {self.path.name!r}, found those of "
                f"{name or 'another one'} ({signature[:8]}). Use that checkpoint, or build a "
                "database with this one."
            )
            raise CheckpointError(message)

    def add(self, entries: Iterable[TissueEntry], *, replacing: bool = False) -> None:
        """Store tissues: all of them, or after an error or a kill none.

        Parameters
        ----------
        entries
            Tissues with tokens of the database's checkpoint (`check_checkpoint`).
        replacing
            Whether to put a tissue in the place of one that is there by its name.

        Raises
        ------
        InputError
            Tokens are of another width or not finite, or a tissue is there already.
        VirtuesError
            The disk is full, or the file cannot be written.
        """
        with transaction(self.path, writing=True) as connection:
            for entry in entries:
                name = entry.about.tissue_id
                number = store.find(connection, name) if replacing else None
                if number is not None:
                    store.delete(connection, number)
                if not store.put(connection, entry, self._fitting(entry.tokens)):
                    message = (
                        f"expected a tissue that is not in {self.path.name!r} yet, found {name!r} "
                        "there. Give it another name, or remove that one first."
                    )
                    raise InputError(message)

    def describe(self, about: Stored) -> None:
        """Replace what is known of a tissue that is there; its tokens and its picture stay.

        Raises
        ------
        InputError
            There is no such tissue.
        """
        with transaction(self.path, writing=True) as connection:
            number = store.number_of(connection, about.tissue_id, self.path)
            store.describe(connection, number, about)

    def remove(self, tissue_ids: Iterable[str]) -> None:
        """Take tissues out: all of them, or after an error none.

        Raises
        ------
        InputError
            There is no such tissue.
        """
        with transaction(self.path, writing=True) as connection:
            for tissue_id in tissue_ids:
                store.delete(connection, store.number_of(connection, tissue_id, self.path))

    def tissues(self, where: Mapping[str, str] | None = None) -> tuple[Stored, ...]:
        """List the tissues whose clinical columns have these values, in the order of adding.

        Raises
        ------
        InputError
            No tissue has such a column.
        """
        with transaction(self.path) as connection:
            return store.listed(connection, *store.those_where(connection, where or {}, self.path))

    def tissue(self, tissue_id: str) -> Stored:
        """Say what is known of a tissue.

        Raises
        ------
        InputError
            There is none of that name.
        """
        with transaction(self.path) as connection:
            return store.about(connection, store.number_of(connection, tissue_id, self.path))

    def tokens(self, tissue_id: str) -> NDArray[np.float32]:
        """Read the tokens (N, D) of a tissue.

        Raises
        ------
        InputError
            There is none of that name.
        """
        with transaction(self.path) as connection:
            number = store.number_of(connection, tissue_id, self.path)
            niches = store.about(connection, number).niches
            return store.tokens(connection, [number], [niches], self.settings.dim)

    def thumbnail(self, tissue_id: str) -> bytes:
        """Read the picture of a tissue, PNG; empty where there is none.

        Raises
        ------
        InputError
            There is no tissue of that name.
        """
        with transaction(self.path) as connection:
            number = store.number_of(connection, tissue_id, self.path)
            return store.thumbnail(connection, number)

    def clinical_values(self) -> dict[str, tuple[Any, ...]]:
        """List the clinical columns with the values that they have, sorted."""
        with transaction(self.path) as connection:
            return store.clinical_values(connection)

    def search(
        self,
        tokens: Tokens,
        top: int = 3,
        *,
        where: Mapping[str, str] | None = None,
        exclude_patient: str = "",
        exclude_tissues: Sequence[str] = (),
        look: Callable[[int, int], None] | None = None,
    ) -> Search:
        """Find the nearest tissues by the 2-Wasserstein distance, exactly.

        Moments are read block by block, tokens only of what they do not rule out: see
        `virtues_core.cohort.retrieval.distance`.

        Parameters
        ----------
        tokens
            (N, D) niche tokens of the query, by the checkpoint of the database.
        top
            How many; fewer where there are no more.
        where
            Only tissues whose clinical columns have these values: column → value as text.
        exclude_patient
            Whose tissues are no candidates; nobody's by default.
        exclude_tissues
            Tissues that are no candidates, such as the query itself.
        look
            Called with how many candidates are decided, of how many.

        Raises
        ------
        InputError
            Tokens do not fit, ``top`` is under 1, a column is not there, or no tissue is left.
        """
        query, dim = self._fitting(tokens), self.settings.dim
        with transaction(self.path) as connection:
            condition, values = store.those_where(connection, where or {}, self.path)
            if exclude_patient:
                condition, values = f"{condition} AND patient_id <> ?", [*values, exclude_patient]
            if exclude_tissues:
                condition += " AND tissue_id NOT IN (SELECT value FROM json_each(?))"
                values = [*values, json.dumps(list(exclude_tissues))]
            numbers, niches, bounds = store.bounds(connection, query, condition, values)
            if not len(numbers):
                message = (
                    f"expected a tissue to compare with in {self.path.name!r}, found none that the "
                    "filters let through. Ask for other values, or allow tissues of the same "
                    "patient."
                )
                raise InputError(message)

            def read(positions: NDArray[np.intp]) -> NDArray[np.float32]:
                return store.tokens(
                    connection, numbers[positions].tolist(), niches[positions].tolist(), dim
                )

            found = nearest_sets(query, bounds, niches, read, top, look=look)
            names = [store.about(connection, int(numbers[i])).tissue_id for i in found.positions]
        return Search(tuple(names), found.distances, found.candidates, found.compared, found.solved)

    def query(
        self,
        tokens: Tokens,
        top: int = 3,
        *,
        where: Mapping[str, str] | None = None,
        exclude_patient: str = "",
        exclude_tissues: Sequence[str] = (),
    ) -> tuple[Match, ...]:
        """Find the nearest tissues with all that is known of them: `search`, then `matches`."""
        found = self.search(
            tokens,
            top,
            where=where,
            exclude_patient=exclude_patient,
            exclude_tissues=exclude_tissues,
        )
        return self.matches(found)

    def matches(self, found: Search) -> tuple[Match, ...]:
        """Read what is known of the tissues that a search found.

        Raises
        ------
        InputError
            One of them was removed since.
        """
        matches = []
        for tissue_id, distance in zip(found.tissue_ids, found.distances, strict=True):
            about = self.tissue(tissue_id)
            matches.append(
                Match(
                    tissue_id=tissue_id,
                    distance=distance,
                    patient_id=about.patient_id,
                    clinical=about.clinical,
                    composition=about.composition,
                    thumbnail=self.thumbnail(tissue_id),
                    source=about.source,
                    image=about.image,
                )
            )
        return tuple(matches)

    def _fitting(self, tokens: Tokens) -> NDArray[np.float64]:
        """Check tokens against the width of the database's."""
        found = check_tokens(tokens)
        if found.shape[1] != self.settings.dim:
            message = (
                f"expected tokens of {self.settings.dim} values, as {self.path.name!r} has, found "
                f"{found.shape[1]}. Make them with {self.settings.checkpoint!r}."
            )
            raise InputError(message)
        return found
