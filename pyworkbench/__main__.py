"""`python -m pyworkbench`: the same as the command `pwb`."""

from pyworkbench.cli import main

if __name__ == "__main__":
    main()
