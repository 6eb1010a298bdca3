"""A typed step, `In -> Out`: what every block is.

Layer 3.
"""
