"""Models of many kinds, each explained beside a plain gradient tape."""
