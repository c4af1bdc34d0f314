"""What every package may use: errors, checks of arguments, the cache on disk, the processors. It knows nothing of the rest."""
