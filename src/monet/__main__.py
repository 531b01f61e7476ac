"""`python -m monet`: the command line of `monet.cli`."""

from monet.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
