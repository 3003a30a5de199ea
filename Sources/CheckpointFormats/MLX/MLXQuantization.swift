internal import StrictJSON
internal import TensorCore

/// How the layers of an MLX model are quantised, as its config says.
struct MLXQuantization {
    /// The settings of a layer.
    struct Layer: Equatable {
        var groupLength: Int
        var bitWidth: Int
        var mode: String
    }

    /// The settings of layers that have none of their own.
    let standard: Layer
    /// Those that have, by the name of the layer; nil where one is not quantised.
    private let layers: [ByteKey: Layer?]

    /// Reads a config's `quantization`; nil where that is not MLX's.
    init?(config: JSONValue) {
        guard let members = config["quantization"]?.members,
            let standard = Self.layer(.object(members), standard: nil)
        else { return nil }
        var layers: [ByteKey: Layer?] = [:]
        for member in members {
            switch member.value {
            case .bool(false): layers[ByteKey(member.key)] = .some(nil)
            case .object:
                guard let layer = Self.layer(member.value, standard: standard) else { return nil }
                layers[ByteKey(member.key)] = .some(layer)
            default: break
            }
        }
        self.standard = standard
        self.layers = layers
    }

    private static func layer(_ json: JSONValue, standard: Layer?) -> Layer? {
        let mode = json["mode"]?.string ?? standard?.mode ?? "affine"
        let group = json["group_size"]?.uint64 ?? standard.map { UInt64($0.groupLength) }
        let bits = json["bits"]?.uint64 ?? standard.map { UInt64($0.bitWidth) }
        guard let group, let bits, 1...65536 ~= group, 1...64 ~= bits else { return nil }
        return Layer(groupLength: Int(group), bitWidth: Int(bits), mode: mode)
    }

    /// The settings of a layer; nil where it is not quantised.
    func layer(named name: ArraySlice<UInt8>) -> Layer? { layers[ByteKey(Array(name))] ?? standard }

    /// The config of the model without the quantisation.
    static func plainConfig(_ config: JSONValue) -> JSONValue {
        guard let members = config.members else { return config }
        return .object(
            members.filter { member in
                // MLX's own tools write the same under both keys.
                let isOurs =
                    member.key.utf8.elementsEqual("quantization".utf8)
                    || member.key.utf8.elementsEqual("quantization_config".utf8)
                        && member.value["quant_method"] == nil && member.value["group_size"] != nil
                return !isOurs
            })
    }
}
