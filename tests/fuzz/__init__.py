"""Broken files, made of whole ones and by hand."""
