"""`python -m availability_svc`."""

from availability_svc.wiring import build
from chassis.lifecycle import main

if __name__ == "__main__":
    main(build)
