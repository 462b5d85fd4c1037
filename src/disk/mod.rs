//! The disk: a list of extents over cached files and small buffers.
