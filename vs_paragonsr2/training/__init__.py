"""What training needs beyond the networks. Nothing of the filter imports this room."""
