"""Where trials run: Ray started or joined, its nodes, and whether they are fit."""
