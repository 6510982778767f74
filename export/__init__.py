"""edgechaos.export; import it by that name, never as a bare `export`."""

if __name__ == "export":
    raise ImportError("import edgechaos.export instead: the bare name 'export' is not part of the package")
