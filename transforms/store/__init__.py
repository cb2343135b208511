"""An atlas as files: where each is, what is in it, how it becomes final, how it is read back.

It imports `statistics` and nouns; it knows neither models nor Beam, and reaches files through a
`Storage`.
"""
