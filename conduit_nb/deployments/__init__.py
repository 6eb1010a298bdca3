"""Starting, finding and ending model servers.

Layer 4.
"""
