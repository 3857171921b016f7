"""VirTues in napari: dock widgets over ``virtues_core``."""
