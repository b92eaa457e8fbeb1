"""Experiment trackers: observers that log a training to TensorBoard, MLflow or W&B."""
