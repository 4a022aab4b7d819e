"""The only writer of appointments: every change is one transaction, and its event commits with it."""
