"""What an installation keeps: its id and its secret.

Layer 3.
"""
