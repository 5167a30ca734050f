"""Limbeck's server: distils 2-D diffusion models into 3-D objects. Start reading in `distillation/trainer.py`."""

__version__ = "0.1.0"
