"""The stages: Beam transforms, each named by its verb, that wire libraries together.

They never import each other: `pipeline.run.graph` is where they meet. Arithmetic is in libraries.
"""
