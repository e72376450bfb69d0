"""Archives of small pictures, or volumes, of one size: bytes of pixels one after the other."""
