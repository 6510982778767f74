"""The integer graph for other runtimes, and the proof that they agree. Its import name is `edgechaos.export`, never a bare `export`."""

if __name__ == "export":
    raise ImportError("import edgechaos.export instead: the bare name 'export' is not part of the package")
