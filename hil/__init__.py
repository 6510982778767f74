"""edgechaos.hil; import it by that name, never as a bare `hil`."""

if __name__ == "hil":
    raise ImportError("import edgechaos.hil instead: the bare name 'hil' is not part of the package")
