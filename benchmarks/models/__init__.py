"""The models that benchmarks serve, written here from their papers, with seeded random weights.

Throughput, latency and memory depend on a model's shapes and not on the values of its weights; answers mean nothing.
Each family's file stands alone, so that it can travel in a function's bundle.
"""
