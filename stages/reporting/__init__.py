"""Helpers to draw pages: figures, tables, looks of members, words. Pictures of one stage are in its own package."""
