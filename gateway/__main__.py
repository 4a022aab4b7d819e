"""`python -m gateway`."""

from chassis.lifecycle import main
from gateway.wiring import build

if __name__ == "__main__":
    main(build)
