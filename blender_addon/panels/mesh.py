"""How the field becomes a mesh, and how the mesh lands in the scene."""

classes = ()
