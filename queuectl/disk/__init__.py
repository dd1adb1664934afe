"""The only package that renames, links or fsyncs."""
