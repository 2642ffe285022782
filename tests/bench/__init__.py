"""`make bench`: how fast the box is, what it costs, and what a slow card makes of it."""
