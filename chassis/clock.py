"""The clock of a process: the machine's, moved by an offset that only tests set."""

from chassis.config import ConfigError
from chassis.settings import CommonSettings, Environment
from scheduling.clock import Clock, shifted_clock, system_clock


def process_clock(settings: CommonSettings) -> Clock:
    """The clock that the process hands to everything in it.

    What the database's clock judges (expiry, lead time) adds `clock_offset_ms` there. Raises ConfigError
    when an offset is set outside of the environment `test`.
    """
    if settings.clock_offset_ms == 0:
        return system_clock
    if settings.environment is not Environment.TEST:
        raise ConfigError("MEDFORALL_CLOCK_OFFSET_MS may be set only when MEDFORALL_ENVIRONMENT is test.")
    return shifted_clock(settings.clock_offset_ms)
