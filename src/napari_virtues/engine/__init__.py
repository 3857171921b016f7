"""The child process that owns the model, and how the window talks to it. No Qt here.

`Engine` lives in the window's process and runs one job at a time in a child process; what happens
there comes back as frozen messages (`messages`), one `Engine.event` signal for all, emitted from a
background thread. Big arrays cross through memory-mapped files (`transfer`). The child never
imports Qt or napari, and dies with the window.
"""

from napari_virtues.engine.attention_job import AttentionJob, RegionImportance
from napari_virtues.engine.cells_jobs import (
    ApplyClassifierJob,
    CellTypes,
    EmbedJob,
    SaveCellsJob,
    SaveClassifierJob,
)
from napari_virtues.engine.hub_job import Download, LookUpTerms, Terms
from napari_virtues.engine.inpaint_job import CohortImage, ImageSource, InpaintJob
from napari_virtues.engine.messages import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Job,
    Loading,
    Progress,
    Ready,
    Started,
    TileDone,
)
from napari_virtues.engine.parent import Engine
from napari_virtues.engine.retrieve_job import Retrieved, RetrieveJob
from napari_virtues.engine.segment_job import Segmented, SegmentJob
from napari_virtues.engine.space_jobs import (
    CellTable,
    ReadTableJob,
    SaveSpaceJob,
    SpaceJob,
    SpaceResult,
)
from napari_virtues.engine.train_job import CheckTrainingJob, TrainingCheck

__all__ = [
    "ApplyClassifierJob",
    "AttentionJob",
    "Cancelled",
    "CellTable",
    "CellTypes",
    "CheckTrainingJob",
    "CohortImage",
    "Download",
    "EmbedJob",
    "Engine",
    "Event",
    "Failed",
    "Finished",
    "ImageSource",
    "InpaintJob",
    "Job",
    "Loading",
    "LookUpTerms",
    "Progress",
    "ReadTableJob",
    "Ready",
    "RegionImportance",
    "RetrieveJob",
    "Retrieved",
    "SaveCellsJob",
    "SaveClassifierJob",
    "SaveSpaceJob",
    "SegmentJob",
    "Segmented",
    "SpaceJob",
    "SpaceResult",
    "Started",
    "Terms",
    "TileDone",
    "TrainingCheck",
]
