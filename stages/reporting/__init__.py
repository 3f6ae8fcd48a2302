"""The kit that pages are drawn with; no stage's own picture."""
