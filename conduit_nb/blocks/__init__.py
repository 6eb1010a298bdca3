"""Typed steps and the chains made of them. The public names stand in `conduit_nb`.

Layer 3.
"""
