"""Where workers run: `executor.py` holds the contract, `local.py` starts processes on this machine."""
