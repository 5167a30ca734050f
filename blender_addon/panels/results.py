"""Recipe of the active object, and what can be done with it."""

classes = ()
