"""The pytest plug-in: `edgechaos_device` is a device that is open, clean and runs the model under test, once for each that was named.

Devices come from `--edgechaos-device`, from the boards of a Twister hardware map, or from pytest's settings. A device that does not open
fails the tests that need it. A run in which every test on a device was skipped has tested nothing, and fails as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # every run of pytest in an environment with EdgeChaos imports this module
    from edgechaos.devices.contract import Device
    from edgechaos.graph.integer_graph import IntegerGraph

DEVICE = "edgechaos_device"
WITHOUT_DEVICE = "no device is named: give --edgechaos-device SPEC or --edgechaos-hardware-map FILE, or set edgechaos_devices"
WITHOUT_MODEL = "no model is named: give --edgechaos-model FILE.ecm, set edgechaos_model, or write a fixture edgechaos_model of your own"
NOTHING_TESTED = "every test on a device was skipped: nothing was tested"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and settings."""
    group = parser.getgroup("edgechaos", "devices of EdgeChaos")
    group.addoption("--edgechaos-device", action="append", default=[], metavar="SPEC", help="host, unicorn:BOARD, serial:PORT; repeatable")
    group.addoption("--edgechaos-model", metavar="FILE", help="the artifact (.ecm) that the devices run")
    group.addoption("--edgechaos-hardware-map", metavar="FILE", help="boards, as in Zephyr's Twister (YAML)")
    group.addoption("--edgechaos-platform", metavar="NAME", help="only the map's boards of this platform")
    parser.addini("edgechaos_devices", "device specs, one a line", type="linelist")
    parser.addini("edgechaos_model", "the artifact (.ecm) that the devices run")
    parser.addini("edgechaos_hardware_map", "boards, as in Zephyr's Twister (YAML)")


def pytest_configure(config: pytest.Config) -> None:
    """One bench for the session."""
    config.addinivalue_line("markers", "edgechaos(platform='', fixtures=()): which boards of the hardware map a test can use")
    config.pluginmanager.register(_Bench(config), "edgechaos-bench")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a device runs on each that is named and has what its marker asks for."""
    if DEVICE in metafunc.fixturenames:
        specs = bench_of(metafunc.config).specs(next(metafunc.definition.iter_markers("edgechaos"), None))
        metafunc.parametrize(DEVICE, specs, indirect=True, ids=[str(spec) for spec in specs])


@pytest.fixture(scope="session")
def edgechaos_model(request: pytest.FixtureRequest) -> IntegerGraph:
    """The model under test; override it to choose another in a folder or a module."""
    from edgechaos.graph import artifact
    from edgechaos.support.errors import EdgeChaosError

    path = request.config.getoption("edgechaos_model") or request.config.getini("edgechaos_model")
    if not path:
        pytest.fail(WITHOUT_MODEL, pytrace=False)
    try:
        return artifact.load(request.config.rootpath / path)
    except EdgeChaosError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def edgechaos_device(request: pytest.FixtureRequest, edgechaos_model: IntegerGraph) -> Device:
    """An open device without faults. It stays open between tests; whatever one left behind is gone for the next."""
    from edgechaos.support.errors import EdgeChaosError

    if request.param is None:
        pytest.fail(WITHOUT_DEVICE, pytrace=False)
    try:
        return bench_of(request.config).device(request.param, edgechaos_model)
    except EdgeChaosError as error:
        pytest.fail(f"{request.param}: {error}", pytrace=False)


class _Bench:
    """The devices of a session, each opened when it is first needed, and how many tests ran on one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._boards: Any = None
        self._open: dict[str, tuple[str, Device]] = {}
        self._failed: dict[tuple[str, str], Exception] = {}
        self._seen: set[str] = set()
        self._ran: set[str] = set()

    def specs(self, marker: pytest.Mark | None) -> list[str | None]:
        """The devices that a test runs on: those named, and the map's boards that its marker allows; [None] where nobody named any."""
        from edgechaos.devices.hardware_map import chosen, read_hardware_map
        from edgechaos.support.errors import EdgeChaosError

        named = self._config.getoption("edgechaos_device") or self._config.getini("edgechaos_devices")
        path = self._config.getoption("edgechaos_hardware_map") or self._config.getini("edgechaos_hardware_map")
        asked = dict(marker.kwargs) if marker else {}
        try:
            if self._boards is None:
                self._boards = read_hardware_map(self._config.rootpath / path) if path else ()
        except EdgeChaosError as error:
            raise pytest.UsageError(str(error)) from error
        boards = chosen(self._boards, self._config.getoption("edgechaos_platform") or "")
        boards = chosen(boards, asked.pop("platform", ""), asked.pop("fixtures", ()))
        if asked or (marker and marker.args):
            raise pytest.UsageError("the marker edgechaos takes platform='...' and fixtures=(...), nothing else")
        found: list[str | None] = [*([] if marker else named), *(board.spec for board in boards)]
        return found if found or named or path else [None]

    def device(self, spec: str, graph: IntegerGraph) -> Device:
        """Open, running this model, and clean. What failed to open once is not waited for again. Raises EdgeChaosError."""
        from edgechaos.devices.registry import check_spec, open_device
        from edgechaos.faults.injections import CLEAN
        from edgechaos.graph.artifact import content_hash
        from edgechaos.support.errors import EdgeChaosError

        model = content_hash(graph)
        if (why := self._failed.get((spec, model))) is not None:
            raise why
        if spec in self._open:
            known, device = self._open.pop(spec)
            try:
                if known == model:
                    device.inject(CLEAN)
                    self._open[spec] = known, device
                    return device
            except EdgeChaosError:  # the test before closed it, or left it hanging
                pass
            device.close()
        try:
            check_spec(spec)
            device = open_device(spec, graph)
            try:
                device.open()
            except BaseException:
                device.close()
                raise
        except EdgeChaosError as error:
            self._failed[spec, model] = error
            raise
        self._open[spec] = model, device
        return device

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Reports name the device; where tests run in parallel, one worker has a device to itself."""
        grouped = self._config.pluginmanager.hasplugin("xdist")
        for item in items:
            if DEVICE in getattr(item, "fixturenames", ()):
                callspec = getattr(item, "callspec", None)
                spec = str(callspec.params.get(DEVICE)) if callspec else "none"
                item.user_properties.append((DEVICE, spec))
                if grouped:
                    item.add_marker(pytest.mark.xdist_group(f"edgechaos {spec}"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Which tests on devices there were, and which of them did something."""
        if DEVICE in dict(report.user_properties):
            self._seen.add(report.nodeid)
            answered = report.outcome != "skipped" and (report.when == "call" or report.failed)
            if answered or hasattr(report, "wasxfail"):
                self._ran.add(report.nodeid)

    @property
    def _nothing_tested(self) -> bool:
        return bool(self._seen) and not self._ran and not hasattr(self._config, "workerinput")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Close what is open; a run that tested nothing is no success."""
        for _, device in self._open.values():
            device.close()
        self._open.clear()
        if self._nothing_tested and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Why an all-skipped run failed."""
        if self._nothing_tested:
            terminalreporter.write_line(f"edgechaos: {NOTHING_TESTED}", red=True)


def bench_of(config: pytest.Config) -> _Bench:
    """The session's bench."""
    found: Any = config.pluginmanager.get_plugin("edgechaos-bench")
    assert isinstance(found, _Bench)
    return found
