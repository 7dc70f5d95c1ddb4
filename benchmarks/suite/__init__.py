"""What `benchmarks/run.py` is made of: environment, workers, interleaved rounds, figures, report."""
