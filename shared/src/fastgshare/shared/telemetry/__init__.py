"""What a process tells of itself to the outside: spans and metrics, by OTLP and for Prometheus."""
