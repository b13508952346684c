"""How much each caller may take, and whose turn it is."""
