"""The kit that pages are drawn with: figures, tables, members' looks, words. A stage's own pictures are in its room."""
