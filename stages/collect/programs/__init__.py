"""The programs whose layouts are searched: published networks at full size, as shapes only.

Nothing is computed and no weight is made: a program is a function and `jax.ShapeDtypeStruct`s. Importing these modules
imports neither jax nor Keras; `Program.build` does. `python -m stages.collect.programs --check` measures them.
"""
