"""As which numbers may features be written?"""

from typing import Literal

ExportDtype = Literal["float32", "uint8"]
"""`uint8` has 256 levels over the range of the values, or 255 where values may be missing."""
