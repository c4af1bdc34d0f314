"""Settings with which an encoder gives the same bytes each time."""

REPRODUCIBLE_X264 = {"x264-params": "asm=SSE2"}
"""Without x264's code for AVX-512, which reads memory that nobody has written: one sequence in eight has other frames where the
allocator left other bytes. This gives what its plain C gives."""
