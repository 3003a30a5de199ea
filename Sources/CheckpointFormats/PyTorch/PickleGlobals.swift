/// A Python function or class that a pickle names, and what it stands for here; nothing is ever looked up.
struct PickleGlobal {
    let module: String
    let name: String
    let role: PickleRole

    var qualifiedName: String { module + "." + name }
}

/// What a global stands for.
enum PickleRole {
    /// A dictionary with an order: `collections.OrderedDict` and `Counter`.
    case dictionary
    /// `torch.Size`, which is its tuple.
    case size
    /// A storage class.
    case storage(TorchElement)
    /// A dtype.
    case element(TorchElement)
    /// A function that makes a tensor.
    case tensor(TensorRecipe)
    /// A NumPy array or scalar.
    case array
    /// Anything else that plain data may hold. Kept as a record, never as a tensor.
    case record
}

/// The functions that PyTorch pickles tensors with.
enum TensorRecipe: String {
    case tensor = "_rebuild_tensor"
    case tensorV2 = "_rebuild_tensor_v2"
    case tensorV3 = "_rebuild_tensor_v3"
    case parameter = "_rebuild_parameter"
    case parameterWithState = "_rebuild_parameter_with_state"
    case fromType = "_rebuild_from_type_v2"
    case quantized = "_rebuild_qtensor"
    case sparse = "_rebuild_sparse_tensor"
    case meta = "_rebuild_meta_tensor_no_storage"
    case nested = "_rebuild_nested_tensor"
    case wrapperSubclass = "_rebuild_wrapper_subclass"
    case deviceFromNumPy = "_rebuild_device_tensor_from_numpy"
    case deviceFromCPU = "_rebuild_device_tensor_from_cpu_tensor"
}

/// The globals that a file may name, each by its exact module and name; every other one is refused.
struct PickleGlobals {
    var roles: [String: PickleRole]
    /// Whether any class under the module `__torch__` is a record: the classes that a TorchScript archive defines.
    var allowsTorchScript = false

    /// The role of a global, or nil where it is refused.
    func role(module: String, name: String) -> PickleRole? {
        if let role = roles[module + " " + name] { return role }
        if allowsTorchScript, module == "__torch__" || module.hasPrefix("__torch__.") { return .record }
        return nil
    }

    /// What files of plain weights and their training state name: PyTorch's own `weights_only` list, NumPy's
    /// array functions, and the helpers of TorchScript for lists.
    static let weights: PickleGlobals = {
        var roles: [String: PickleRole] = [:]
        func add(_ module: String, _ names: [String], _ role: PickleRole = .record) {
            for name in names { roles[module + " " + name] = role }
        }
        add("collections", ["OrderedDict", "Counter"], .dictionary)
        add("torch", ["Size"], .size)
        for element in TorchElement.all { add("torch", [element.name], .element(element)) }
        for (prefix, name) in TorchElement.storagePrefixes {
            guard let element = TorchElement.all.first(where: { $0.name == name }) else { continue }
            for module in ["torch", "torch.cuda"] {
                add(module, [prefix + "Storage"], .storage(element))
                add(module, [prefix + "Tensor"])
            }
        }
        add("torch.storage", ["UntypedStorage", "_UntypedStorage"], .storage(.byte))
        add("torch", ["UntypedStorage"], .storage(.byte))
        add("torch.storage", ["TypedStorage"])
        for recipe in [
            TensorRecipe.tensor, .tensorV2, .tensorV3, .parameter, .parameterWithState, .quantized, .sparse,
            .meta, .nested, .wrapperSubclass, .deviceFromNumPy, .deviceFromCPU,
        ] { add("torch._utils", [recipe.rawValue], .tensor(recipe)) }
        add("torch._tensor", [TensorRecipe.fromType.rawValue], .tensor(.fromType))
        add("torch", ["Tensor", "device", "per_tensor_affine", "per_tensor_symmetric"])
        add("torch", ["per_channel_affine", "per_channel_symmetric", "per_channel_affine_float_qparams"])
        add("torch.nn.parameter", ["Parameter", "Buffer"])
        add("torch.serialization", ["_get_layout"])
        add("_codecs", ["encode"])
        for module in ["builtins", "__builtin__"] {
            add(module, ["set", "frozenset", "bytearray", "complex"])
        }
        for module in ["numpy.core.multiarray", "numpy._core.multiarray"] {
            add(module, ["_reconstruct", "scalar"], .array)
        }
        add("numpy", ["dtype", "ndarray"])
        add(
            "torch.jit._pickle",
            ["build_intlist", "build_tensorlist", "build_doublelist", "build_boollist"])
        return PickleGlobals(roles: roles)
    }()
}

/// Whether a module, or the one of a global, is known to run commands or code.
func isCommandModule(_ name: String) -> Bool {
    let commandModules: Set<Substring> = [
        "os", "posix", "nt", "sys", "subprocess", "builtins", "__builtin__", "runpy", "shutil", "socket",
        "ctypes", "importlib", "pty", "commands", "webbrowser", "pip", "code", "pickle", "marshal",
    ]
    return commandModules.contains(name.prefix { $0 != "." })
}

/// Why a global was refused, in words that say what the file is likely to be.
func refusalMessage(module: String, name: String) -> String {
    let root = module.prefix { $0 != "." }
    let object = "\(module).\(name)"
    if isCommandModule(module) {
        return "the file asks Python to use \(object), which can run commands or code; nothing was run. "
            + "Do not load this file with PyTorch"
    }
    if module.hasPrefix("torch.nn.modules") || root == "__main__" {
        return "the file holds a whole Python object (\(object)), which needs code to load; nothing was run. "
            + "Save model.state_dict() instead of the model"
    }
    return "the file asks Python to use \(object), which plain weights do not need; nothing was run. "
        + "Save the state_dict alone, with tensors and plain values only"
}
