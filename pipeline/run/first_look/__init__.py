"""What the model gets of the first examples, and what looks wrong in it.

`look` says what is there, `doubts` what a user should know of it. They import NumPy, Arrow, and
what libraries say of the data; neither TensorFlow nor Beam.
"""
