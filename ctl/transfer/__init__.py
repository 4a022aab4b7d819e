"""Clinics as files: read, checked, written into a database, and written out again."""
