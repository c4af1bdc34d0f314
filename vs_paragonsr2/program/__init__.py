"""A frame's way from planes to planes as data: operations with weights, and walks over them. NumPy alone."""
