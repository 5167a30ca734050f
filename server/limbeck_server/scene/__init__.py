"""What is optimised and how it is seen: field, renderer, cameras, background, shading, regularisers."""
