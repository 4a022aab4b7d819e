"""Client of medforall: generated stubs, with tokens, deadlines, retries and idempotency keys."""

from medforall_client.client import Medforall
from medforall_client.errors import MedforallError
from medforall_client.policy import Retries

__all__ = ["Medforall", "MedforallError", "Retries"]
