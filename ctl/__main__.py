"""`python -m ctl` is the `medforall` command."""

from ctl.main import app

if __name__ == "__main__":
    app(prog_name="medforall")
