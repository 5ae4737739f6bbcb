"""Python imports this by itself where the folder is on PYTHONPATH: the wall clock of that process is then wrong.

`DIO_TEST_WALL` names a file with the seconds by which it is, now and whenever that changes. Only `time.time_ns` is
touched, which is where a nerve center takes the time of day from; clocks for durations stay right.
"""

import os
import time
from pathlib import Path

_real = time.time_ns
_file = Path(os.environ["DIO_TEST_WALL"])


def _wrong() -> int:
    return _real() + int(float(_file.read_text() or 0) * 1e9)


time.time_ns = _wrong
