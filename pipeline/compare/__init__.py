"""Two atlases beside each other: what they are to each other, what moved. Begin with compare.py.

Only `graph` imports Beam: `saliency-atlas compare` runs there what a report does in its process.
"""
