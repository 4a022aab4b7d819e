"""The `medforall` command: runs the whole suite on one machine and looks after it."""
