"""Runs a notebook with its section of params.yaml and renders its page; no stage depends on it."""
