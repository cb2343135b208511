"""What image files say of themselves: headers, orientation, the directories of TIFF."""
