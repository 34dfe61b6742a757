"""A model as a file: ONNX, torch.export, TorchScript, a state dict with its factory."""
