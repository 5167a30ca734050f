"""The panel's buttons. Each does one thing, works from scripts too, and reports an error with its remedy."""

from . import job, preview, results, rig, server

classes = (*job.classes, *server.classes, *rig.classes, *results.classes, *preview.classes)
