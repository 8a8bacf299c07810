"""Exporting trained policies to folders that are used without memorax and without Flax."""

from memorax.experiment.export.folder import FORMATS, Export, export_policy

__all__ = ["FORMATS", "Export", "export_policy"]
