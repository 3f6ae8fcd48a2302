"""Programs to try `python -m stages.tune` with: a plain function, a Keras model and a training step."""
