"""Makes a data set: compiles programs in many configurations, times them, and writes the official files.

`cpu` is the collector for XLA:CPU. What it shares with another target stands beside it.
"""
