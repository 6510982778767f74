"""What runs a model and takes faults. Its import name is `edgechaos.devices`, never a bare `devices`."""

if __name__ == "devices":
    raise ImportError("import edgechaos.devices instead: the bare name 'devices' is not part of the package")
