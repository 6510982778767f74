"""From a float model to integers: description, fake-quantized training, lowering. Start at `edgechaos.quantize.pipeline`."""
