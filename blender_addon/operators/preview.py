"""Previews: in the viewport and in an Image Editor."""

classes = ()
