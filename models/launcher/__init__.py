"""Starting model servers, and keeping them running."""
