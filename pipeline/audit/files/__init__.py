"""The files of an audit: each format a module, and the folder that they are written to."""
