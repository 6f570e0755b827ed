"""The model's modules stand beside each other, in no package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
