"""``python -m reslab``: the same as the command ``reslab``."""

from reslab.cli.main import main

if __name__ == "__main__":
    main()
