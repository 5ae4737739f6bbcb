"""Memory that the C library keeps after its use: what lies between what is still used goes back to the system.

A look at all files or a baseline that is written leaves holes in the heap that nothing fills for hours.
"""

from __future__ import annotations

GIVE_BACK_S = 60.0


def give_back() -> None:
    """Give back whole pages that are free. glibc alone has this, malloc_trim(3); elsewhere nothing happens."""
    try:
        import ctypes  # a hardened host may refuse it

        trim = ctypes.CDLL(None).malloc_trim
    except (ImportError, OSError, AttributeError):
        return
    trim(ctypes.c_size_t(0))
