"""Model packages: manifest, graph, golden windows."""
