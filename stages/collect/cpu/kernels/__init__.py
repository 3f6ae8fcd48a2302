"""The kernels of the tile collection: one operation each, computed whole or output tile by output tile."""
