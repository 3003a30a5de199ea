internal import CheckpointFormats
internal import TensorCore

/// Which type each tensor of a GGUF file gets: one for all, or a mix by the rules of llama.cpp.
public struct GGUFQuantization: Sendable, Equatable {
    /// The name, such as `q4_k_m`.
    public let name: String
    /// The type that most tensors get.
    let base: GGUFType
    /// The number of the mix in files.
    let fileType: UInt32

    /// All of them, by how much room they leave.
    public static let all: [GGUFQuantization] = [
        plain("f32", .f32, 0), plain("bf16", .bf16, 32), plain("f16", .f16, 1),
        GGUFQuantization(name: "q8_0", base: GGUFType(.q8_0), fileType: 7),
        GGUFQuantization(name: "q6_k", base: GGUFType(.q6K), fileType: 18),
        GGUFQuantization(name: "q5_k_m", base: GGUFType(.q5K), fileType: 17),
        GGUFQuantization(name: "q5_k_s", base: GGUFType(.q5K), fileType: 16),
        GGUFQuantization(name: "q5_1", base: GGUFType(.q5_1), fileType: 9),
        GGUFQuantization(name: "q5_0", base: GGUFType(.q5_0), fileType: 8),
        GGUFQuantization(name: "q4_k_m", base: GGUFType(.q4K), fileType: 15),
        GGUFQuantization(name: "q4_k_s", base: GGUFType(.q4K), fileType: 14),
        GGUFQuantization(name: "q4_1", base: GGUFType(.q4_1), fileType: 3),
        GGUFQuantization(name: "q4_0", base: GGUFType(.q4_0), fileType: 2),
    ]

    /// The one of this name, in any letter case.
    public static func named(_ name: String) -> GGUFQuantization? {
        all.first { $0.name == name.lowercased() }
    }

    static func plain(_ dtype: DType) -> GGUFQuantization? { all.first { $0.base.dtype == dtype } }

    private static func plain(_ name: String, _ dtype: DType, _ fileType: UInt32) -> GGUFQuantization {
        guard let type = GGUFType(dtype) else { preconditionFailure("GGUF has the type") }
        return GGUFQuantization(name: name, base: type, fileType: fileType)
    }
}

/// What the rules of a mix look at beside the tensor.
struct GGUFMixContext {
    var layerCount: Int
    var expertCount: Int
    /// Whether there are fewer key heads than heads.
    var groupsQueries: Bool
    /// Whether the output head is the embedding.
    var isTied: Bool
}

extension GGUFQuantization {
    /// Names that llama.cpp never quantises: they are small, and its kernels want floats.
    private static let kept = [
        "_norm.weight", "ffn_gate_inp.weight", "altup", "laurel", "per_layer_model_proj", "ssm_conv1d",
        "shortconv.conv.weight", "attn_rel_b.weight", ".position_embd", ".patch_embd", "position_embd.weight",
        "token_types.weight",
    ]

    /// Whether a tensor is one of those that a model's size and speed are made of.
    static func isLarge(_ name: String, shape: [UInt64]) -> Bool {
        // Dimensions of one do not count, unless they are the innermost.
        shape.drop { $0 == 1 }.count >= 2 && name.hasSuffix("weight") && !kept.contains { name.contains($0) }
    }

    /// The type of a large tensor.
    func type(of name: String, shape: [UInt64], _ context: GGUFMixContext) -> GGUFType {
        guard base.dtype == nil else { return base }
        return fitting(preferred(name, row: shape.last ?? 1, context), row: shape.last ?? 1)
    }

    private func preferred(_ name: String, row: UInt64, _ context: GGUFMixContext) -> GGUFType {
        let (q5K, q6K, q8) = (GGUFType(.q5K), GGUFType(.q6K), GGUFType(.q8_0))
        if name == "output.weight" || (context.isTied && name == "token_embd.weight") {
            return row % UInt64(base.blockElementCount) != 0 || base == q8 ? q8 : q6K
        }
        let layer = Self.layer(of: name)
        let eighth = context.layerCount / 8
        let deservesMore =
            layer < eighth || layer >= 7 * context.layerCount / 8 || (layer - eighth) % 3 == 2
        let isMedium = self.name.hasSuffix("_k_m")
        let isSmallest = self.name == "q4_k_s"
        if name.contains("attn_v.weight") || name.contains("attn_kv_b.weight")
            || name.contains("attn_qkv.weight")
        {
            if context.expertCount == 8 { return q8 }
            if isMedium && deservesMore { return q6K }
            if isSmallest && layer < 4 { return q5K }
            // Eight heads share one in the models of this size, so that a better type costs little.
            if base == GGUFType(.q4K), context.layerCount == 80, context.groupsQueries { return q5K }
        } else if name.contains("attn_k.weight") {
            if context.expertCount == 8 { return q8 }
        } else if name.contains("ffn_down") {
            if isMedium && deservesMore { return q6K }
            if isSmallest && layer < eighth { return q5K }
        } else if name.contains("attn_output.weight") {
            if context.expertCount == 8, base == GGUFType(.q4K) { return q5K }
        }
        return base
    }

    /// The type, or one that takes rows of this length.
    private func fitting(_ type: GGUFType, row: UInt64) -> GGUFType {
        if row % UInt64(type.blockElementCount) == 0 { return type }
        let smaller: [GGUFType: GGUFType] = [
            GGUFType(.q4K): GGUFType(.q5_0), GGUFType(.q5K): GGUFType(.q5_1),
            GGUFType(.q6K): GGUFType(.q8_0),
        ]
        if let next = smaller[type], row % UInt64(next.blockElementCount) == 0 { return next }
        return Self.all.first { $0.name == "f16" }?.base ?? type
    }

    private static func layer(of name: String) -> Int {
        let parts = name.utf8.split(separator: 0x2E, maxSplits: 2)
        guard parts.count > 1, parts[0].elementsEqual("blk".utf8) else { return 0 }
        return Int(String(decoding: parts[1], as: UTF8.self)) ?? 0
    }
}
