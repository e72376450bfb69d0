"""Shapes as voxels or meshes."""
