"""A household's own TMTP site in a box: see README.md for what it does and promises."""
