"""What VapourSynth sees: ``upscale``, what it asks of a clip and of each frame, and the order in which frames are computed."""
