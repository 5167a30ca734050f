"""The panel's buttons. Each does one thing, works from scripts too, and reports an error with its remedy."""

from . import edits, guidance, images, job, jobs, preview, remedies, results, rig, server, server_setup, variants

classes = (
    *job.classes,
    *jobs.classes,
    *guidance.classes,
    *server.classes,
    *server_setup.classes,
    *remedies.classes,
    *rig.classes,
    *results.classes,
    *edits.classes,
    *variants.classes,
    *preview.classes,
    *images.classes,
)
