"""The verbs that are tools of their own: modules with `make_parser`, and `main`, which returns the exit code."""

TOOLS = {
    "group": ("digideep.launch.group_command", "train several seeds and settings, some at once"),
    "sweep": ("digideep.launch.sweep_command", "search for values of the control panel, by Optuna"),
    "sessions": ("digideep.post.sessions", "list sessions"),
    "report": ("digideep.post.report", "write one HTML page about sessions"),
    "plot": ("digideep.post.plotter", "draw curves of sessions"),
    "record": ("digideep.post.record", "record a data set of what a policy does"),
    "export": ("digideep.post.export", "write a policy as ONNX, TorchScript or torch.export"),
    "export-logs": ("digideep.post.export_logs", "send logs to TensorBoard, Weights & Biases or MLflow"),
    "env": ("digideep.environment.play", "list, run or check environments"),
    "params": ("digideep.post.params", "explain a parameter file"),
    "completion": ("digideep.post.completion", "print what completes these commands in a shell"),
}
