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
    /// An archive in the bytes of the argument.
    case nestedArchive
    /// Anything else that plain data may hold. Kept as a record, never as a tensor.
    case record
    /// A class that nobody knows, a record where the caller allows such.
    case opaque
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
    /// NumPy's.
    case array = "_reconstruct"
}

/// The globals that a file may name, each by its exact module and name; every other one is refused.
struct PickleGlobals {
    var roles: [String: PickleRole]
    /// Whether any class under the module `__torch__` is a record: the classes that a TorchScript archive defines.
    var allowsTorchScript = false
    /// Whether unknown classes are records, but for those that run commands or code.
    var allowsOpaque = false

    /// The role of a global, or nil where it is refused.
    func role(module: String, name: String) -> PickleRole? {
        if let role = roles[module + " " + name] { return role }
        guard Self.isPlain(module, withDots: true), Self.isPlain(name, withDots: false) else { return nil }
        if SettingsClasses.contains(module: module, name: name) { return .record }
        if allowsTorchScript, module == "__torch__" || module.hasPrefix("__torch__.") { return .record }
        return allowsOpaque && !DeniedGlobals.contains(module: module, name: name) ? .opaque : nil
    }

    /// Whether a name is made of ASCII identifiers.
    private static func isPlain(_ name: String, withDots: Bool) -> Bool {
        !name.isEmpty
            && name.utf8.split(separator: 0x2E, omittingEmptySubsequences: false).allSatisfy { part in
                !part.isEmpty && !(0x30...0x39).contains(part[part.startIndex])
                    && part.allSatisfy { byte in
                        byte == 0x5F || 0x30...0x39 ~= byte || 0x41...0x5A ~= byte
                            || 0x61...0x7A ~= byte
                    }
            } && (withDots || !name.utf8.contains(0x2E))
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
        add("torch.storage", ["_load_from_bytes"], .nestedArchive)
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
            add(module, ["set", "frozenset", "bytearray", "complex", "bytes"])
        }
        for module in ["numpy.core.multiarray", "numpy._core.multiarray"] {
            add(module, ["_reconstruct", "scalar"], .array)
        }
        add("numpy", ["dtype", "ndarray"])
        for element in TorchElement.all where element.name.hasPrefix("float8") || element.name == "bfloat16" {
            add("ml_dtypes", [element.name], .element(element))
        }
        add("argparse", ["Namespace"])
        add(
            "torch.jit._pickle",
            [
                "build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag",
            ])
        return PickleGlobals(roles: roles)
    }()
}
