"""What DIO costs, as ratios to its peers that were measured in the same run on the same machine.

What is started finds its modules compiled, as an installed package has them, whatever the environment says of that.
"""

import os
from pathlib import Path

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).resolve().parents[1] / "build/benchmarks/compiled")
