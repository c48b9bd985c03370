"""Every error AIMDS raises on purpose. One root; each class carries the offending values as attributes."""

from __future__ import annotations


class AimdsError(Exception):
    """Root of all errors raised on purpose; its text is fit for a user."""


class SchemaError(AimdsError):
    """A table does not fit the data contract: names the column, and the row where one row is at fault."""

    def __init__(self, column: str, problem: str, *, row: int | None = None) -> None:
        self.column, self.problem, self.row = column, problem, row
        where = f"column {column!r}" + (f", row {row}" if row is not None else "")
        super().__init__(f"{where}: {problem}")


class ConfigError(AimdsError):
    """A setting has a value that cannot be used: names the key, the value, what would be accepted, and the file that
    it stands in, if any."""

    def __init__(self, key: str, value: object, expected: str, *, file: object = None) -> None:
        self.key, self.value, self.expected, self.file = key, value, expected, None if file is None else str(file)
        given = f"{key}: nothing given" if value is None or value == "" else f"{key} = {value!r}"
        super().__init__(f"{'' if file is None else f'{file}: '}{given}: expected {expected}")

    def of(self, file: object) -> ConfigError:
        """The same, which names the ``file``."""
        return ConfigError(self.key, self.value, self.expected, file=file)


class DataError(AimdsError):
    """A file cannot be used: names the path and the problem."""

    def __init__(self, path: object, problem: str) -> None:
        self.path, self.problem = str(path), problem
        super().__init__(f"{path}: {problem}")


class ArtefactError(DataError):
    """A shipped artefact (weights, signatures, policy) is missing, damaged or not the one its hash names."""


class BackendError(AimdsError):
    """A kernel backend was asked for that cannot run here: says why."""

    def __init__(self, backend: str, reason: str) -> None:
        self.backend, self.reason = backend, reason
        super().__init__(f"backend {backend!r} is not available: {reason}")


class DeviceLost(BackendError):
    """The device failed, and does so at each later call of this process: another process may be able to use it."""

    def __init__(self, backend: str, reason: str) -> None:
        super().__init__(backend, f"{reason}; the process has to be started anew")


class KernelError(AimdsError):
    """Arguments do not fit a kernel's spec: names the kernel, the argument and the problem."""

    def __init__(self, kernel: str, argument: str, problem: str) -> None:
        self.kernel, self.argument, self.problem = kernel, argument, problem
        super().__init__(f"{kernel}({argument}): {problem}")
