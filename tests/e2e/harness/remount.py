"""Make a whole file system read-only, or writable again, as the kernel does after an error of the disk.

`python3 - ro|rw PATH`, fed with this text. mount(8) of Debian 12 changes the one mount as well, which a unit's own
view of it would keep for good.
"""

from __future__ import annotations

import ctypes
import os
import sys

_FSPICK, _FSCONFIG = 433, 431  # the same on every architecture
_SET_FLAG, _RECONFIGURE = 0, 7


def main() -> None:
    """Change it. Raises OSError when the kernel refuses: somebody has a file open for writing."""
    mode, path = sys.argv[1:]
    call = ctypes.CDLL(None, use_errno=True).syscall
    found = call(_FSPICK, -100, path.encode(), 0)
    for arguments in ((_SET_FLAG, mode.encode(), None, 0), (_RECONFIGURE, None, None, 0)):
        if found < 0 or call(_FSCONFIG, found, *arguments) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


main()
