"""Trained models put to use: one file is ranked without the pipeline, and the models are bundled into one file."""
