"""What goes wrong, as exceptions: every one is a `WorkbenchError`, and its message names the value.

The compiled core raises these too. Two more are warnings about the build, not about what was asked.
"""

import errno as _errno


class WorkbenchError(Exception):
    """The base of all errors of this package."""


class InputError(WorkbenchError, ValueError):
    """An argument, a script or a file is wrong; the message says what would have been right.

    Example:
        >>> import pyworkbench
        >>> pyworkbench.Stage2().map(0x1234, 0x1000, 0x8000_0000)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        pyworkbench.errors.InputError: ipa 0x1234 is not a multiple of the page size 0x1000: 0x1000 or ...
    """


class CaptureError(InputError):
    """A capture cannot be read; the message names file, line, cause, and what was expected.

    Attributes:
        file: the file, if the fault lies in one.
        line: the line in it, counted from 1.
    """

    def __init__(self, message: str, file: str | None, line: int | None) -> None:
        super().__init__(message, file, line)  # all in `args`, so that the exception can be pickled
        self.message = message
        self.file = file
        self.line = line

    def __str__(self) -> str:
        return self.message


class TableError(WorkbenchError):
    """The table refused an operation, as Linux would: the errno says how.

    Attributes:
        errno: the positive number, as in the module `errno`.
        name: its name, such as `EAGAIN`.
    """

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(errno, message)  # both in `args`, so that the exception can be pickled
        self.errno = errno
        self.message = message

    @property
    def name(self) -> str:
        """The errno's name."""
        return _errno.errorcode[self.errno]

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class StoreError(WorkbenchError):
    """A store of measurements cannot be read or written; the message begins with the file.

    Attributes:
        file: the file, or the folder.
    """

    def __init__(self, message: str, file: str) -> None:
        super().__init__(message, file)  # both in `args`, so that the exception can be pickled
        self.message = message
        self.file = file

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


class CorePanic(WorkbenchError):  # noqa: N818 (a panic is what it is)
    """The compiled core met a state that it holds to be impossible: a defect, and the message says where."""


class BuildWarning(UserWarning):
    """The compiled core is not what it should be."""


class StoreWarning(UserWarning):
    """A file of a store was left out: it is damaged, or of another version."""


class StaleExtensionWarning(BuildWarning):
    """The compiled core was built from other sources than those beside the package."""


class DebugExtensionWarning(BuildWarning):
    """The compiled core was built without optimisation: no time it takes means anything."""
