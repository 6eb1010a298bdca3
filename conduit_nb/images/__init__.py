"""Images of LmLite for containers: how they are built and pushed.

Layer 5.
"""
