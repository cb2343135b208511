"""Pictures of maps beside what they explain: images, time series, tables, and sheets of several.

They take arrays and give pixels, (height, width, 3) uint8; nothing here reads files.
"""
