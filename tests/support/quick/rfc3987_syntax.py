"""Stands before the package of this name in Ray's processes: see `cluster.started`."""

raise ImportError("jsonschema does without it")
