"""From a density field to a clean, textured, watertight mesh in a file. No torch: fields come in as plain callables."""
