internal import StrictJSON
internal import TensorCore

extension ShardIndex {
    /// A way to write an index, byte for byte that of a library; both escape what is not ASCII.
    public enum Layout: String, Sendable, CaseIterable {
        /// As the hub library writes it: indented by two, everything in order, no newline at the end.
        ///
        /// Source: huggingface_hub 2.4, `serialization/_torch.py`.
        case hub
        /// As transformers writes it: indented by two, keys sorted, a newline at the end.
        ///
        /// Source: transformers 5.24, `modeling_utils.py`.
        case transformers
    }

    /// The document.
    ///
    /// The names of tensors must be UTF-8.
    ///
    /// - Parameter layout: the bytes to write for the same contents.
    public func serialized(_ layout: Layout = .transformers) -> [UInt8] {
        let map = entries.map { JSONMember(key: $0.tensor.string, value: .string($0.file)) }
        let root = JSONValue.object(
            [
                JSONMember(key: "metadata", value: .object(metadata)),
                JSONMember(key: "weight_map", value: .object(map)),
            ] + others)
        switch layout {
        case .hub: return root.serialized(indent: 2, asciiOnly: true)
        case .transformers:
            return root.serialized(indent: 2, asciiOnly: true, sortKeys: true) + [UInt8(ascii: "\n")]
        }
    }

    /// The layout that a document seems to have been written in: the hub's where no newline ends it.
    ///
    /// - Parameter document: the bytes of an index.
    public static func layout(of document: [UInt8]) -> Layout {
        document.last == UInt8(ascii: "\n") ? .transformers : .hub
    }
}
