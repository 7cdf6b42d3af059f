"""What lies within the skin: the template of real anatomy, its place in a person, the pull-back, organs, and signals.

The template's coordinates are mm: x to the right, y to anterior, z up from its own soles. A section is polar about the middle
of the cavity, in mm of the template; a table of sections has the shape (n, angle, slice).
"""
