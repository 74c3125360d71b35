"""What finds records by what they are about: an index beside the segments, derived from them."""
