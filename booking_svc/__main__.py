"""`python -m booking_svc`."""

from booking_svc.wiring import build
from chassis.lifecycle import main

if __name__ == "__main__":
    main(build)
