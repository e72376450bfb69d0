"""As which numbers may features be written?"""

from typing import Literal

ExportDtype = Literal["float32", "uint8"]
"""`uint8` has 256 levels over the data range."""
