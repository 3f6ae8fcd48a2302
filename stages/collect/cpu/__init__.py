"""The collector for XLA:CPU: small programs and kernels, really compiled and really timed on this machine."""
