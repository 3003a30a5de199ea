internal import StrictJSON

/// The numbers of a model that its tensors' shapes follow from, by the names that maps have for them: `hidden`,
/// `heads`, `kv_heads`, `head_dim`, `layers`, `decoder_layers`, `experts`, `vocab` and others.
public struct Dimensions: Sendable, ExpressibleByDictionaryLiteral {
    private var values: [String: UInt64] = [:]

    /// The most layers or experts that are taken for real.
    static let countLimit: UInt64 = 1 << 16

    /// Makes dimensions; of a name that comes twice, the last counts.
    public init(dictionaryLiteral elements: (String, UInt64)...) {
        for (name, value) in elements { values[name] = value }
    }

    /// The value of a dimension; nil where it is not known.
    public subscript(name: String) -> UInt64? {
        get { values[name] }
        set { values[name] = newValue }
    }
}

/// Where a dimension comes from: keys of a config (`key=text` for what a text says) and expressions of dimensions that come before it, the first
/// that is known counts.
struct DimensionSource: Sendable {
    var name: String
    private var alternatives: [(key: String, expression: SizeExpression?)]

    /// Reads alternatives with `|` between them, such as `num_key_value_heads | heads`.
    init(name: String, _ text: String) {
        self.name = name
        alternatives = text.split(separator: "|").map { part in
            let key = String(part.split(separator: " ").joined(separator: " "))
            return (key, SizeExpression(key))
        }
    }

    private static func member(_ key: String, of config: JSONValue) -> JSONValue? {
        config[key] ?? config["text_config"]?[key]
    }

    /// The value in a config: a number, or one where the config says true or what stands after a `=`.
    func value(in config: JSONValue, _ known: Dimensions) -> UInt64? {
        for (key, expression) in alternatives {
            let parts = key.split(separator: "=")
            if parts.count == 2 {
                if Self.member(String(parts[0]), of: config)?.string == String(parts[1]) { return 1 }
                continue
            }
            let found = Self.member(key, of: config)
            if let value = found?.uint64 ?? found?.bool.map({ $0 ? 1 : 0 }) { return value }
            if let value = expression?.value(known) { return value }
        }
        return nil
    }
}
