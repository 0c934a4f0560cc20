"""A checked configuration becomes pipelines."""
