"""Metrics, scores, the submission, baselines, and the official evaluation indices."""
