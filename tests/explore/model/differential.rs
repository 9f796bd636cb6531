//! The table of the model answers as the embedded engine does.
