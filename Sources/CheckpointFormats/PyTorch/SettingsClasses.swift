/// The classes that trainers' settings are made of: configurations and enumerations of known packages.
///
/// They become records of their attributes, so that what a model was trained with can be read. Functions are never
/// among them: only names that look like a class's, in modules that hold settings.
enum SettingsClasses {
    /// Whether a global is such a class.
    static func contains(module: String, name: String) -> Bool {
        if let names = exact[module] { return names.contains(name) }
        guard looksLikeClass(name) else { return false }
        return modules.contains { entry in
            entry.hasSuffix("*")
                ? module.hasPrefix(entry.dropLast()) : module == entry || module.hasPrefix(entry + ".")
        }
    }

    /// Whether a name begins with an upper-case letter, behind underscores.
    private static func looksLikeClass(_ name: String) -> Bool {
        name.utf8.first { $0 != 0x5F }.map { 0x41...0x5A ~= $0 } ?? false
    }

    /// Modules of Python's own library, with the names that are data there.
    private static let exact: [String: Set<String>] = [
        "pathlib": [
            "Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath",
        ],
        "pathlib._local": [
            "Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath",
        ],
        "datetime": ["datetime", "date", "time", "timedelta", "timezone"],
        "collections": ["defaultdict", "deque", "UserDict"],
        "types": ["SimpleNamespace"],
        "decimal": ["Decimal"],
        "fractions": ["Fraction"],
        "uuid": ["UUID", "SafeUUID"],
    ]

    /// Modules, each with those below it; a star stands for any ending.
    private static let modules = [
        "transformers.training_args*", "transformers.trainer_utils", "transformers.trainer_pt_utils",
        "transformers.trainer_callback", "transformers.debug_utils", "transformers.utils.generic",
        "transformers.utils.quantization_config", "transformers.generation.configuration_utils",
        "transformers.configuration_utils", "transformers.models", "transformers.integrations",
        "transformers.deepspeed", "transformers.benchmark", "trl", "axolotl", "llamafactory", "llmtuner",
        "accelerate.state", "accelerate.utils", "accelerate.parallelism_config", "peft", "unsloth*",
        "Unsloth*",
        "sentence_transformers", "setfit", "swift.trainers", "swift.llm", "swift.arguments", "optimum",
        "deepspeed.runtime.config*", "deepspeed.runtime.zero.config", "deepspeed.runtime.zero.offload_config",
        "deepspeed.runtime.fp16.loss_scaler", "deepspeed.utils.tensor_fragment",
        "torch.distributed.fsdp", "torch.distributed.tensor", "torch.distributed._tensor",
        "torch.distributed.device_mesh", "torch.distributed._mesh_layout",
        "torch.distributed.algorithms._checkpoint", "torch.backends.cuda", "torch.optim.lr_scheduler",
        "omegaconf", "hydra.core", "lightning.fabric.utilities.data", "lightning_fabric.utilities.data",
        "lightning.fabric.utilities.enums", "lightning_utilities.core.enums", "pytorch_lightning.utilities",
        "lightning.pytorch.utilities", "lightning.pytorch.callbacks", "pytorch_lightning.callbacks",
        "easydict", "addict", "yacs.config", "mmengine.config", "ml_collections", "fairseq.dataclass",
        "huggingface_hub.utils",
    ]
}
