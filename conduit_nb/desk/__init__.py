"""What every panel asks, in JupyterLab's sidebar and in a cell: what runs, and what is under way.

Knows neither a web server nor a notebook. Layer 6.
"""
