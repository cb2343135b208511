"""The report: an atlas as one HTML file that people pass on. Neither TensorFlow nor Beam.

    from pipeline import Atlas, report

    report.write(Atlas.open("atlases/train"), "report.html")
    report.write(Atlas.open("atlases/new"), "changes.html", baseline=Atlas.open("atlases/old"))

It needs no server and makes no request, reads without JavaScript, and says what it is made of.
"""

from pipeline.report.writing import write

__all__ = ["write"]
