"""numba, as all compiled code of the library uses it: kept on disk, without Python's lock.

numba compiles a function anew where the file that it stands in has changed, and looks at no other file: so it may call
compiled functions, and read numbers, of its own module alone (tests/test_compiling.py).
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

from numba import njit

FUSED = {"contract"}  # for `fastmath`: a * b + c in one rounding, nothing else


Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """Return a decorator that has numba compile a function when it is first called.

    Args:
        **options: Of `numba.njit`.
    """
    return cast(Callable[[Function], Function], njit(cache=_is_kept(), nogil=True, **options))


@cache
def _is_kept() -> bool:
    """Return whether there is a place to keep compiled code; say so where there is none."""
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:
        warnings.warn(
            "compiled code cannot be kept: neither the library's __pycache__ nor the user's cache can be written to; "
            "each process compiles for some seconds; NUMBA_CACHE_DIR names another folder",
            stacklevel=2,
        )
        return False
    return True


def _nothing() -> None:
    """Stand for any function of the library."""
