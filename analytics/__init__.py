"""Spark and Flink read what a fleet delivered, and must find what was sent: `make analytics-check`."""
