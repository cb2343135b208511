"""Whether a model uses a place that its maps point to: masking and transplants, with the model.

A map says where a gradient is large, not what the model would do without that place. Here the place
is taken out of images and put into others, each time against as many pixels elsewhere, on examples
that had no part in choosing the place. It needs the model and the inputs, so it stands apart from
the audit, which reads tables.

    reading        which examples, and their inputs again
    screening      which proposals are worth an experiment, by a few images of half a
    interventions  masks, fills, patches, and their controls
    experiment     what the model makes of them, image by image
    effects        what that adds up to: intervals, tests, the verdict
"""
