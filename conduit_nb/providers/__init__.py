"""Where nodes come from; each provider is one module, registered by an entry point.

Layer 3.
"""
