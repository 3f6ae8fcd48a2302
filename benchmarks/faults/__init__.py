"""Disturbs runs of the pipeline and checks the next run: `python -m benchmarks.faults`, `benchmarks.faults.kills`."""
