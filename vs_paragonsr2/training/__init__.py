"""Training: data, losses, runs. Nothing that the filter needs imports this package."""
