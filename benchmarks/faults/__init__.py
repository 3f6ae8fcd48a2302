"""Takes the pipeline through what breaks: `python -m benchmarks.faults`."""
