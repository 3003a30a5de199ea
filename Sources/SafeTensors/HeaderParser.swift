internal import StrictJSON
internal import TensorCore

/// Reads the JSON of a header into a ``HeaderIndex``: the grammar and the entries, not yet the layout.
struct HeaderParser: ~Escapable {
    static let metadataKey = "__metadata__"
    /// Nesting that the reference's JSON reader accepts.
    private static let maximumDepth = 127

    /// The length of `"":["U8",[],[0,1]],`, the shortest entry.
    private static let minimumEntryByteCount = 19
    /// The length of `"":"",`, the shortest entry of the metadata.
    private static let minimumMetadataByteCount = 6
    /// From this size on the memory for entries matters.
    private static let largeByteCount = 1 << 24

    let bytes: RawSpan
    let mode: ValidationMode
    var index = HeaderIndex()
    var tokens: JSONTokenizer
    private var sawMetadata = false
    /// Memory for a name whose escapes are replaced.
    var scratch: [UInt8] = []
    /// The tensor whose entry is being read.
    var name: JSONText?

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, mode: ValidationMode) throws(SafeTensorsError) {
        self.bytes = bytes
        self.mode = mode
        do {
            tokens = try JSONTokenizer(validating: bytes, maximumDepth: Self.maximumDepth)
        } catch {
            throw SafeTensorsError(
                .headerNotUTF8, at: Self.fileOffset(error.offset), "the header is not UTF-8")
        }
    }

    /// Reads the whole header.
    mutating func parse() throws(SafeTensorsError) {
        guard case .beginObject = try next() else {
            throw error(.headerNotObject, "the header is not a JSON object")
        }
        if tokens.tokenStart > 0 {
            index.warnings.add(.leadingWhitespace, at: 8, "white space stands before the header's object")
        }
        if bytes.byteCount > Self.largeByteCount {
            // Address space for as many entries as there can be: arrays that grow would need twice the memory.
            index.names.reserveCapacity(bytes.byteCount / Self.minimumEntryByteCount)
            index.entries.reserveCapacity(bytes.byteCount / Self.minimumEntryByteCount)
        }
        let special = ShortText(Self.metadataKey)
        var isFirst = true
        while true {
            readPlainEntries(isFirst: isFirst)
            guard case .key(let key) = try next() else { break }
            if ShortText(key, in: bytes, &scratch) == special {
                try parseMetadata()
            } else {
                try parseEntry(key)
            }
            isFirst = false
        }
        name = nil
        let objectEnd = tokens.position
        _ = try next()
        for position in objectEnd..<bytes.byteCount where bytes[position] != 0x20 {
            index.warnings.add(
                .nonSpacePadding, at: Self.fileOffset(position),
                "the header is padded with something else than spaces")
            break
        }
    }

    private mutating func parseMetadata() throws(SafeTensorsError) {
        guard !sawMetadata else { throw error(.duplicateKey, "__metadata__ occurs twice") }
        sawMetadata = true
        switch try next() {
        case .null:
            index.warnings.add(.metadataNull, at: Self.fileOffset(tokens.tokenStart), "__metadata__ is null")
        case .beginObject:
            index.hasMetadata = true
            if bytes.byteCount > Self.largeByteCount {
                index.metadataKeys.reserveCapacity(bytes.byteCount / Self.minimumMetadataByteCount)
            }
            readPlainMetadata()
            while case .key(let key) = try next() {
                index.metadataKeys.append(UInt32(key.start - 1))
                guard case .string = try next() else {
                    throw error(.badMetadata, "a value in __metadata__ is not a string")
                }
            }
        default: throw error(.badMetadata, "__metadata__ is not an object of strings")
        }
    }

    /// Reads the metadata's entries up to the first that has white space around it or no string as its value.
    private mutating func readPlainMetadata() {
        let start = tokens.position
        var end = start
        while true {
            let quote = end == start ? end : end + 1
            guard end == start || byte(end) == UInt8(ascii: ","),
                let colon = endOfString(at: quote), byte(colon) == UInt8(ascii: ":"),
                let next = endOfString(at: colon + 1)
            else { break }
            index.metadataKeys.append(UInt32(quote))
            end = next
        }
        if end > start { tokens.resume(afterMemberEndingAt: end) }
    }

    /// The byte after the string that opens at `quote`, or nil where none stands there.
    private func endOfString(at quote: Int) -> Int? {
        guard byte(quote) == UInt8(ascii: "\"") else { return nil }
        let text = JSONText.opened(at: quote, in: bytes)
        return text.start > quote ? text.end + 1 : nil
    }

    private func byte(_ position: Int) -> UInt8 { position < bytes.byteCount ? bytes[position] : 0 }
}

// MARK: - Tokens and errors

extension HeaderParser {
    mutating func next() throws(SafeTensorsError) -> JSONToken {
        do {
            return try tokens.next()
        } catch {
            throw notJSON(error)
        }
    }

    func notJSON(_ error: JSONError) -> SafeTensorsError {
        SafeTensorsError(
            error.code == .nestingTooDeep ? .nestingTooDeep : .headerNotJSON,
            at: Self.fileOffset(error.offset), tensor: tensorName,
            "the header is not valid JSON: \(error.message)")
    }

    private var tensorName: TensorName? { name.map { TensorName(shown: $0, in: bytes) } }

    func error(
        _ code: SafeTensorsError.Code, at position: Int? = nil, _ message: String,
        referenceName: String?? = nil
    ) -> SafeTensorsError {
        SafeTensorsError(
            code, at: Self.fileOffset(position ?? tokens.tokenStart), tensor: tensorName, message,
            referenceName: referenceName)
    }

    /// An error for what the reference accepts.
    func strictOnly(_ code: SafeTensorsError.Code, _ message: String) -> SafeTensorsError {
        error(code, message, referenceName: .some(nil))
    }

    mutating func warnIrregular(_ message: String, at position: Int? = nil) {
        index.warnings.add(
            .irregularEntry, at: Self.fileOffset(position ?? tokens.tokenStart), tensor: name, in: bytes,
            message)
    }

    static func fileOffset(_ position: Int) -> UInt64 { UInt64(position) + 8 }
}
