"""The core: noise a render, ask the prior, combine the answers, step the field. Start reading in `trainer.py`."""
