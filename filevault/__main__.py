"""`python -m filevault`: the same program as the console script."""

from filevault.cli import entry

if __name__ == "__main__":
    entry()
