"""Make one thread hang: attach to it, stop it, and hold it until its process is gone.

`python3 hold_thread.py TID` prints "held" when the thread stands still. The other threads of its process go on.
"""

from __future__ import annotations

import ctypes
import os
import sys

_SEIZE, _INTERRUPT = 0x4206, 0x4207
_ANY_THREAD = 0x40000000  # __WALL


def main() -> None:
    """Hold the thread that the command line names."""
    tid = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    for request in (_SEIZE, _INTERRUPT):
        if libc.ptrace(request, tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace request {request:#x} on thread {tid}")
    os.waitpid(tid, _ANY_THREAD)
    print("held", flush=True)
    # Its process is not gone, for its parent, before the one who traces it has seen it end.
    while True:
        _, status = os.waitpid(tid, _ANY_THREAD)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return


if __name__ == "__main__":
    main()
