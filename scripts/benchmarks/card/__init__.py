"""The parts of ``scripts/gpu_check.py``. They need PyTorch and NumPy; VapourSynth and Torch-TensorRT where they are."""
