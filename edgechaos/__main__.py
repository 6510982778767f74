"""`python -m edgechaos`: the command line where the script `edgechaos` is not on the path."""

from edgechaos.cli import main

if __name__ == "__main__":
    main(prog_name="edgechaos")
