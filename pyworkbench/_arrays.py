"""Arrays of addresses, as users have them, in the one form that the core reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pyworkbench.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Addresses: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint64]]


def addresses(name: str, values: npt.ArrayLike | Any) -> Addresses:
    """Addresses as a contiguous array of `uint64`; without a copy if they are one already.

    Args:
        name: what the caller calls them, for the error.
        values: integers of 64 bits: a numpy array, a pandas column, a list.

    Raises:
        InputError: they are no integers, negative, too large, or not in one dimension; the message has the first wrong
            one and its place.

    Example:
        >>> addresses("ipas", [0x1000, 0x2000])
        array([4096, 8192], dtype=uint64)
        >>> addresses("ipas", [0x1000, -1])
        Traceback (most recent call last):
        ...
        pyworkbench.errors.InputError: ipas[1] is -1: 0 to 2**64 - 1 would be an address
    """
    import numpy as np  # noqa: PLC0415 (not at import: a command that prints text does without)

    given = np.asarray(values)
    if given.ndim != 1:
        raise InputError(f"{name} has {given.ndim} dimensions: one would be right")
    if given.size == 0:
        return np.empty(0, np.uint64)
    if given.dtype.kind == "f" and not hasattr(values, "dtype"):  # numpy's idea of a list with large integers
        given = np.asarray(values, object)
    if given.dtype == object:
        given = _of_objects(name, given)
    if given.dtype.kind not in "iu":
        raise InputError(f"{name} holds {given.dtype} such as {given[0]!r}: integers of 64 bits would be right")
    if given.dtype.kind == "i" and given.min() < 0:
        raise _no_address(name, int((given < 0).argmax()), given)
    array: Addresses = np.ascontiguousarray(given, np.uint64)
    return array


def _of_objects(name: str, given: npt.NDArray[Any]) -> Addresses:
    import numpy as np  # noqa: PLC0415 (as above)

    for index, value in enumerate(given):
        if not isinstance(value, int):
            raise InputError(f"{name}[{index}] is {value!r}: an integer of 64 bits would be right")
        if not 0 <= value < 1 << 64:
            raise _no_address(name, index, given)
    return given.astype(np.uint64)


def _no_address(name: str, index: int, given: npt.NDArray[Any]) -> InputError:
    return InputError(f"{name}[{index}] is {given[index]}: 0 to 2**64 - 1 would be an address")
