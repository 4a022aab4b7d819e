"""`python -m realtime_svc` runs the service."""

from chassis.lifecycle import main
from realtime_svc.wiring import build

if __name__ == "__main__":
    main(build)
