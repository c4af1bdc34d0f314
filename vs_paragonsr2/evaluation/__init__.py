"""Upscalers measured on pictures and on video. Needs the extra ``evaluation``."""
