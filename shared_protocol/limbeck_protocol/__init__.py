"""The wire between Limbeck's clients and its server. Read `WIRE.md`, then `messages.py`."""

__version__ = "0.1.0"
