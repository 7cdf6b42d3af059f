"""The in-silico heart cohort: who (people), sizes (reference), motion (cycle, ventricles), surroundings, MR signal (scanner).

The heart's frame is that of a short-axis cine, in mm: x to the septum and the right ventricle, y to anterior, z from apex to
base. Seen from the apex with y up and x to the left, as a radiologist sees it, the right ventricle is on the left. An angle is
taken about the long axis of the left ventricle: 0 at the middle of the septum, pi / 2 anterior, pi lateral, -pi / 2 inferior.
"""
