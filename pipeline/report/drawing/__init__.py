"""Small charts as inline SVG, drawn by attributes alone."""
