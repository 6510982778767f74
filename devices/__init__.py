"""edgechaos.devices; import it by that name, never as a bare `devices`."""

if __name__ == "devices":
    raise ImportError("import edgechaos.devices instead: the bare name 'devices' is not part of the package")
