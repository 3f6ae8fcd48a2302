"""Imported once, before programs are traced in forked processes: the libraries take eight seconds to load."""

from stages.collect.programs import before_layout, keras_models

before_layout.set_environment()
keras_models.libraries()
