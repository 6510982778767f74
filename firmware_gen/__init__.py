"""The integer graph as C, built for a board or for this host. Its import name is `edgechaos.firmware_gen`, never a bare `firmware_gen`."""

if __name__ == "firmware_gen":
    raise ImportError("import edgechaos.firmware_gen instead: the bare name 'firmware_gen' is not part of the package")
