"""The archive on disk: exact run text, trace files, manifests and zips."""
