"""Between the box and its edges: what panel and console are told, and what they may ask.

settings    from the configuration to theirs, and what is wrong with it      start    their tasks

Each is imported when it is needed: a box without pins and ports has no code for them in its memory.
"""
