"""Raw HLO protobufs (TpuGraphs tuning data, XLA dumps) as the arrays of the official npz files."""
