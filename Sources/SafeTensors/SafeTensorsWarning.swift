internal import StrictJSON
public import TensorCore

/// An oddity that does not make a file unreadable.
public struct SafeTensorsWarning: Sendable {
    /// What kind of oddity it is.
    ///
    /// The raw values are stable and appear in reports.
    public enum Code: String, Sendable, CaseIterable {
        /// The header is padded with something else than spaces.
        case nonSpacePadding
        /// White space stands before the header's object.
        case leadingWhitespace
        /// A tensor's name is empty.
        case emptyName
        /// A tensor's name holds control characters.
        case controlCharInName
        /// `__metadata__` is `null`.
        case metadataNull
        /// A tensor's entry has a field that the format does not define.
        case unknownField
        /// A tensor's data is not aligned for its dtype.
        case unalignedTensor
        /// A BOOL tensor holds other bytes than 0 and 1.
        case nonCanonicalBool
        /// A tensor is named twice and the last entry counts (accepted as the reference does).
        case duplicateTensor
        /// A metadata key occurs twice and the last value counts (accepted as the reference does).
        case duplicateMetadataKey
        /// An entry is spelt as an array, or a dtype as an object (accepted as the reference does).
        case irregularEntry
        /// An index has no `metadata`, which some loaders require.
        case indexWithoutMetadata
    }

    /// What kind of oddity it is.
    public var code: Code
    /// The byte of the file where it is.
    public var offset: UInt64
    /// The tensor that it is about; a name of more than 1 KiB is cut.
    public var tensor: TensorName?
    /// What is odd, as a phrase without a full stop.
    public var message: String

    init(_ code: Code, at offset: UInt64, tensor: TensorName? = nil, _ message: String) {
        self.code = code
        self.offset = offset
        self.tensor = tensor
        self.message = message
    }
}

extension SafeTensorsWarning: CustomStringConvertible {
    /// The byte, the tensor where there is one, the message and the code in one line, safe to print.
    public var description: String {
        "byte \(offset): " + (tensor.map { "tensor \($0): " } ?? "") + "\(message) [\(code.rawValue)]"
    }
}

/// Warnings with a bound on how many of each kind are kept.
public struct SafeTensorsWarnings: Sendable {
    /// At most this many warnings of a kind are kept; the rest are counted.
    public static let limit = 16

    /// The warnings that were kept, in the order they were found.
    public private(set) var kept: [SafeTensorsWarning] = []
    private var counts = [Int](repeating: 0, count: SafeTensorsWarning.Code.allCases.count)

    /// True where there was none.
    public var isEmpty: Bool { kept.isEmpty }

    /// How many warnings of this kind there were, kept or not.
    ///
    /// - Parameter code: the kind.
    /// - Returns: the number, kept warnings among them.
    public func count(of code: SafeTensorsWarning.Code) -> Int { counts[code.index] }

    /// Counts a warning, and keeps it unless enough of its kind were kept.
    mutating func add(
        _ code: SafeTensorsWarning.Code, at offset: UInt64, tensor: TensorName? = nil,
        _ message: @autoclosure () -> String
    ) {
        counts[code.index] += 1
        guard counts[code.index] <= Self.limit else { return }
        kept.append(SafeTensorsWarning(code, at: offset, tensor: tensor, message()))
    }

    /// The same for a tensor whose name stands in a header; decodes it only where the warning is kept.
    mutating func add(
        _ code: SafeTensorsWarning.Code, at offset: UInt64, tensor: JSONText?, in bytes: RawSpan,
        _ message: @autoclosure () -> String
    ) {
        let isKept = counts[code.index] < Self.limit
        add(
            code, at: offset, tensor: isKept ? tensor.map { TensorName(shown: $0, in: bytes) } : nil,
            message())
    }

    /// Counts further warnings without keeping them.
    mutating func add(_ code: SafeTensorsWarning.Code, uncounted count: Int) { counts[code.index] += count }
}

extension SafeTensorsWarning.Code {
    fileprivate var index: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

extension TensorName {
    /// A name of a header for an error or a warning: cut where it is very long.
    init(shown text: JSONText, in bytes: RawSpan) {
        self.init(utf8: text.prefix(1024, in: bytes).utf8(in: bytes))
    }
}
