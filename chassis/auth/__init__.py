"""Who calls, and how that is proven."""

from chassis.auth.principal import Principal, Role

__all__ = ["Principal", "Role"]
