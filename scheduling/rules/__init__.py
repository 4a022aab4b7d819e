"""The rules a clinic may set: one file a rule type, and a registry that knows them all."""
