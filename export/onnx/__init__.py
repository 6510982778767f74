"""Integer ONNX: every operation, random words included, in standard operators."""
