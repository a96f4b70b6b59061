"""Benchmarks: what Candlefleet costs, beside what people use today, in one run on one machine."""
