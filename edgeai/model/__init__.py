"""Model packages: the manifest, the graph and the golden windows."""
