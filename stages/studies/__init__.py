"""Pages that no stage reads: recipes, ablation, times, real TPU runs."""
