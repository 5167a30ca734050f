"""Fields of the previews."""


class PreviewFields:
    """Where the growing object is shown."""
