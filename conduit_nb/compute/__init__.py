"""What compute there is and what is to run on it, said without starting anything.

Layer 2.
"""
