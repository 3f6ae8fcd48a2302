"""Imported once, before programs are traced in forked processes: the libraries take eight seconds to load.

Without Keras the programs that are written with JAX alone can be traced.
"""

from contextlib import suppress

from stages.collect.programs import keras_models
from stages.collect.tpu import libtpu

libtpu.set_environment()
with suppress(ImportError):
    keras_models.libraries()
