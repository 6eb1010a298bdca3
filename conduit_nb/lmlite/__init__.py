"""LmLite: Conduit's own runtime, a model server in a process of its own.

Import its modules by name: some load torch, and this file must not.
"""
