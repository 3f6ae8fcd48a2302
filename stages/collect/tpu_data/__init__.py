"""Makes the data set of TPU v3 programs and kernels: which, in which order, their records, and the official files."""
