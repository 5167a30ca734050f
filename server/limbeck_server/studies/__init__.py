"""The papers' own experiments, repeated: each study is a module with `run(quick, seed, out, say)` and `report`."""
