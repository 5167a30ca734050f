"""The sidebar of the 3-D view, tab Limbeck. Drawing only: panels read the session and the scene and ask nobody."""

from . import cameras, guidance, jobs, main, mesh, picture, preview, results, server, shape

classes = (
    *main.classes,
    *preview.classes,
    *guidance.classes,
    *cameras.classes,
    *shape.classes,
    *picture.classes,
    *mesh.classes,
    *jobs.classes,
    *results.classes,
    *server.classes,
)
