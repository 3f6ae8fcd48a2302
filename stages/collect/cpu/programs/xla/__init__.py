"""Vision and general programs (source 'xla').

Networks come from keras_hub backbones with explicit small arguments, or are put together from keras.layers where no
library has the family at this size.
"""
