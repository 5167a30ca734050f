"""The server: sockets, store, queue and processes; never torch. Start reading in `endpoint.py`."""
