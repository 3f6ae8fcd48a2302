"""Pages that are no stage of the pipeline: recipes, ablation, times, real TPU runs."""
