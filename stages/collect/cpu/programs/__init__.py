"""The small programs that are compiled and timed on XLA:CPU.

Every network is small on purpose: a configuration costs one compilation, and thousands are needed. Weights are random;
nothing is downloaded. Importing these modules imports neither keras nor jax: `Program.build` does.
"""
