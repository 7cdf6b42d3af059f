"""Memory that a process frees and soon asks for again."""

from __future__ import annotations

import ctypes
import sys

#: numbers of glibc's parameters (malloc.h), and the most that they take
TRIM_THRESHOLD, MMAP_THRESHOLD, MOST = -1, -3, 2**31 - 1


def keep_freed() -> None:
    """Let this process keep what it frees, for good.

    A body makes thousands of arrays of a few MB. glibc gives such back to the system at once, and the system clears each
    page anew: an eighth of a body's time. For processes of our own only; without glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, MOST)
        mallopt(TRIM_THRESHOLD, MOST)
