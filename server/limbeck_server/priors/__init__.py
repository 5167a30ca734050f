"""Pretrained diffusion models behind one contract (`prior.py`).

The only importers of diffusers, transformers and peft.
"""
