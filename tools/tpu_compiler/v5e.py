"""Kaggle's TPU v5e-8: its cores, and the limits of each."""

CORES = 8
TOPOLOGY = "v5e:2x4"  # its name for JAX
MEMORY = 16 * 2**30  # bytes
FLOPS_PER_SECOND = 197e12  # bfloat16
BYTES_PER_SECOND = 819e9  # to and from the core's memory
