"""Settings with which an encoder gives the same bytes each time."""

REPRODUCIBLE_X264 = {"x264-params": "asm=SSE2"}
"""x264's options that leave out its code for AVX-512, which reads memory that nobody has written: one sequence in eight comes out
with other frames where the allocator has left other bytes. With these it gives what its plain C gives."""
