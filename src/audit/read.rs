//! Reads the audit.
