"""TVM, by way of the integer ONNX."""
