"""One file per kind of node in ONNX operations; the older kinds stand in `nodes` and `chaos`."""
