"""How a model server is started; each runtime is one module, registered by an entry point.

Layer 3.
"""
