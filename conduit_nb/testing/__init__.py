"""What helps to test Conduit and things built on it.

Layer 6. Import its modules by name: some load torch, and this file must not.
"""
