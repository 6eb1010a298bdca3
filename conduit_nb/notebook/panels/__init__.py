"""Widgets that stay alive in the notebook: the table of offerings, the panel of deployments.

Each is a Python class that is asked and answers by messages, and a script of the same name that
draws. Layer 7.
"""
