"""What a method's maps say about a model: tried by destroying what they should depend on.

Begin with `certify.py`.
"""
