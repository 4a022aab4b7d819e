"""Slow, plain second opinions that share no algorithm with the product."""
