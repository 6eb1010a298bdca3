"""What a notebook sees: magics, cells, DataFrames, progress.

Layer 7.
"""
