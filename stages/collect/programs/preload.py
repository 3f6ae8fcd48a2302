"""Imported once, before programs are traced in forked processes: the libraries take eight seconds to load."""

from stages.collect.programs import keras_models
from stages.collect.tpu import libtpu

libtpu.set_environment()
keras_models.libraries()
