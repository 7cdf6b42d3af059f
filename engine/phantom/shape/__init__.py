"""The shape of an in-silico torso from outside: skin, subcutaneous fat, wall and cavity, arms; and the canvas it is drawn on.

Points are in millimetres: x to the patient's right, y to anterior, z upwards from the soles. ``u`` is z as a fraction
of the person's height. A shape is a signed distance in mm, negative inside. A value of one person has the shape
(n, 1, 1, 1), a value of one person's axial slice (n, 1, 1, z), a voxel's (n, x, y, z).
"""
