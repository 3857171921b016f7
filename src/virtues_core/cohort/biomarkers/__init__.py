"""Clusters of cells that foretell an outcome."""
