/// Bytes as the key of a set or dictionary, fed to the hasher at once (an array feeds them one by one).
public struct ByteKey: Sendable, Hashable {
    /// The bytes.
    public let bytes: [UInt8]

    /// Makes a key.
    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Makes a key of the UTF-8 of `text`.
    public init(_ text: String) { bytes = Array(text.utf8) }

    /// Feeds all bytes at once.
    public func hash(into hasher: inout Hasher) {
        unsafe bytes.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    }
}
