"""Language programs (source 'nlp'): small keras_hub and keras networks, their forward pass or a training step."""
