"""Pictures of the growing object: in the sidebar, an Image Editor and the 3-D view; thumbnails of finished jobs."""
