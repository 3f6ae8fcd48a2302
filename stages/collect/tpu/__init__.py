"""Google's TPU compiler, libtpu, as a simulator: what a program costs on a TPU v3, without a TPU."""
