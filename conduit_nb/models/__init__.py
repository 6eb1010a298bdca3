"""Models: what a user asks for, where the weights come from, and what their files say.

Import its modules by name: this file stays empty, so that naming a model costs nothing.
"""
