"""The panel's fields -> a checked recipe, and back; what the server's catalog allows."""
