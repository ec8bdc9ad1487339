"""The profiler measures functions and publishes their throughput tables."""
