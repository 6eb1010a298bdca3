"""What people ask of a planner: models by name, held against devices and what is offered.

Layer 4.
"""
