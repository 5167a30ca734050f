"""The jobs of the server, with their thumbnails."""

classes = ()
