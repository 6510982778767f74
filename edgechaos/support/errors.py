"""The one tree of exceptions. Each message says what, where and what to do next; fields carry the same for programs."""

from __future__ import annotations


class EdgeChaosError(Exception):
    """Base of every error that a user's input, file or device can cause. args: the message, and lines of detail where there are."""

    def __str__(self) -> str:
        return "\n  ".join(map(str, self.args))


class ShapeError(EdgeChaosError):
    """An array's shape or dtype does not match what the graph declares."""


class GraphError(EdgeChaosError):
    """An integer graph breaks a rule of docs/semantics.md."""

    def __init__(self, message: str, node: str | None = None) -> None:
        super().__init__(message)
        self.node = node


class AccumulatorOverflow(GraphError):
    """A bound that int32 arithmetic needs could not be proved."""


class UnsupportedError(EdgeChaosError):
    """A model, layer or option that a target cannot carry; raised at export, by name."""

    def __init__(self, message: str, node: str | None = None) -> None:
        super().__init__(message)
        self.node = node


class ArtifactError(EdgeChaosError):
    """A file of ours is missing, truncated, corrupt, hostile or of another format version."""

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class FaultError(EdgeChaosError):
    """A fault plan that the model or the device cannot carry."""


class ConfigError(EdgeChaosError):
    """A configuration file has an unknown key, a missing key or an impossible value."""

    def __init__(self, message: str, key: str | None = None, *details: str) -> None:
        super().__init__(message, *details)
        self.key = key


class SeedError(ConfigError):
    """A seed is not a whole number in 0..2^32 - 1."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "seed")


class DataError(EdgeChaosError):
    """A data set is missing, corrupt or of another shape than the model takes."""


class BuildError(EdgeChaosError):
    """Firmware could not be generated or compiled, or does not fit the board."""


class MissingExtra(EdgeChaosError):
    """An optional package is not installed; the message names the command that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package '{package}', which is not installed: pip install 'edgechaos[{extra}]'")
        self.package = package
        self.extra = extra


class VerificationError(EdgeChaosError):
    """A target computes other integers than the reference, a model is less accurate than it must be, or nothing was compared."""


class DeviceError(EdgeChaosError):
    """Something went wrong on or on the way to a device. `outcome` is the campaign's word for it."""

    outcome = "infrastructure"


class DeviceHang(DeviceError):
    """The device ran more instructions than its model can take under any plan, or did not answer within its time-out."""

    outcome = "hang"


class DeviceCrash(DeviceError):
    """The device took a fault exception, an unmapped access or an illegal instruction."""

    outcome = "crash"


class DeviceReset(DeviceError):
    """The device restarted on its own: its faults and inputs are gone, results since the last check are void."""

    outcome = "reset"


class DevicePowerLoss(DeviceReset):
    """The device lost its power, or another host began a session: no fault of the model does that, so it is no outcome of one."""

    outcome = "infrastructure"


class DeviceDetected(DeviceError):
    """A fault of the link was noticed, and retries did not get past it: no result, and no wrong one."""

    outcome = "detected"


class LinkError(DeviceError):
    """The link lost, corrupted or invented bytes beyond what retries could mend, or could not be opened."""


class DeviceRefused(DeviceError):
    """The device answered with an error code: it understood the request and will not do it. detail: as the protocol says of the code."""

    def __init__(self, message: str, code: int = 0, detail: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail
