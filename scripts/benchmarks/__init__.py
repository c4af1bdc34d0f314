"""What ``scripts/benchmark.py`` and ``scripts/gpu_check.py`` run; all of it measures by one harness."""
