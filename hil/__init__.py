"""Campaigns of faults, their energy, results and report. Its import name is `edgechaos.hil`, never a bare `hil`."""

if __name__ == "hil":
    raise ImportError("import edgechaos.hil instead: the bare name 'hil' is not part of the package")
