"""edgechaos.firmware_gen; import it by that name, never as a bare `firmware_gen`."""

if __name__ == "firmware_gen":
    raise ImportError("import edgechaos.firmware_gen instead: the bare name 'firmware_gen' is not part of the package")
