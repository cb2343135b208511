"""Whether a model uses what an audit found: masking, transplants and exchanges, with the model.

A map says where a gradient is large, not what the model would do without that place. Here the place
is taken out of images and put into others, each time against as many pixels elsewhere, on examples
that had no part in choosing the place. It needs the model and the inputs, so it stands apart from
the audit, which reads tables. A property of whole images, such as a tint, has no place: two classes
that are alike in all else exchange it.

    selection            which examples
    screening            which proposals are worth an experiment, by a few images of half a
    interventions        masks, fills, patches, and their controls
    experiment           what the model makes of them, image by image
    property_changes     gains, blurs and the like that bring a property where it should be
    counterparts         the class that a property is exchanged with
    property_experiment  what the model makes of the exchange
    effects              what that adds up to: intervals, tests, the verdict
"""
