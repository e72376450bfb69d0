"""Import of optional libraries, or the name of the extra that installs them."""

import importlib
from typing import Any

from functa_store.errors import MissingLibraryError


def require(module: str, *, extra: str, name: str | None = None, otherwise: str = "") -> Any:
    """A module of a library that functa-store does without.

    Args:
        module: What is imported, such as "scipy.ndimage".
        extra: The extra of functa-store that installs the library.
        name: What the library is called; None for the module's first word.
        otherwise: What else could be done, after a comma.

    Raises:
        MissingLibraryError: If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library in C under it is not there
        library = name or module.partition(".")[0]
        raise MissingLibraryError(
            f"{library} is not installed; run pip install 'functa-store[{extra}]'{otherwise and ', ' + otherwise}"
        ) from error
