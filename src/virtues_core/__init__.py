"""The science of napari-virtues: reads images, maps markers, runs and trains VirTues."""

__version__ = "0.1.0"
