"""What becomes of a finished job: mesh, material, recipe on the object, asset; variants in a row."""
