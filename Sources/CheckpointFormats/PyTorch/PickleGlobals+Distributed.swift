extension PickleGlobals {
    /// What the metadata and the values of `torch.distributed.checkpoint` name beyond weights.
    static let distributed = weights.adding([
        (
            "torch.distributed.checkpoint.metadata",
            [
                "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata",
                "TensorProperties", "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING",
            ]
        ),
        ("torch.distributed.checkpoint.filesystem", ["_StorageInfo"]),
        ("torch.distributed.checkpoint._fsspec_filesystem", ["_StorageInfo"]),
        // PyTorch 2.0 to 2.2.
        ("torch.distributed._shard.sharded_tensor.metadata", ["TensorProperties", "MEM_FORMAT_ENCODING"]),
        ("torch.distributed._shard.metadata", ["ShardMetadata"]),
        ("pathlib", ["Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"]),
        ("pathlib._local", ["Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"]),
        ("_io", ["BytesIO"]),
    ])

    /// What DeepSpeed's files name beyond weights.
    static let deepSpeed = weights.adding([
        ("deepspeed.runtime.fp16.loss_scaler", ["LossScaler", "DynamicLossScaler"]),
        ("deepspeed.runtime.zero.config", ["ZeroStageEnum"]),
        ("deepspeed.utils.tensor_fragment", ["fragment_address"]),
        ("argparse", ["Namespace"]),
    ])

    /// The table with more classes whose objects are records.
    private func adding(_ classes: [(module: String, names: [String])]) -> PickleGlobals {
        var result = self
        for (module, names) in classes {
            for name in names { result.roles[module + " " + name] = .record }
        }
        return result
    }
}
