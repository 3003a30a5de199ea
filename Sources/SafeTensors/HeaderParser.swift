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
    private var tokens: JSONTokenizer
    private var sawMetadata = false
    /// Memory for a name whose escapes are replaced.
    var scratch: [UInt8] = []
    /// The tensor whose entry is being read.
    private var name: JSONText?

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

// MARK: - Entries

extension HeaderParser {
    /// The fields of an entry that were read so far.
    private struct Fields {
        var dtype: DType?
        var shape: Shape?
        var offsets: (begin: UInt64, end: UInt64)?
    }

    private struct Shape {
        /// The opening bracket.
        var start: Int
        /// The number of elements, nil where it overflows.
        var elementCount: UInt64?
    }

    private static let hugeNumber = "a number is too large for any reader"
    private static let arrayEntry = "the entry is an array, not an object"
    private static let dtypeField = ShortText("dtype")
    private static let shapeField = ShortText("shape")
    private static let offsetsField = ShortText("data_offsets")

    /// Reads the entries up to the first that is not spelt in the usual way.
    private mutating func readPlainEntries(isFirst: Bool) {
        var reader = PlainEntryReader(bytes, allowsArrays: mode == .reference)
        reader.position = tokens.position
        var isFirst = isFirst
        while let entry = reader.next(isFirst: isFirst) {
            isFirst = false
            if entry.hasOddName { noteOddities(of: JSONText.opened(at: entry.name, in: bytes)) }
            if let array = entry.array {
                name = JSONText.opened(at: entry.name, in: bytes)
                warnIrregular(Self.arrayEntry, at: array)
            }
            append(
                name: entry.name, dtype: entry.dtype, shape: entry.shape, elementCount: entry.elementCount,
                begin: entry.begin, end: entry.end)
        }
        if reader.position > tokens.position { tokens.resume(afterMemberEndingAt: reader.position) }
    }

    @inline(__always)
    private mutating func append(
        name: Int, dtype: DType, shape: Int, elementCount: UInt64?, begin: UInt64, end: UInt64
    ) {
        index.names.append(UInt32(name))
        index.entries.append(
            HeaderIndex.Entry(
                begin: begin, end: end, shape: UInt32(shape), dtype: dtype,
                fault: Self.fault(dtype, elementCount: elementCount, begin, end)))
    }

    private mutating func parseEntry(_ key: JSONText) throws(SafeTensorsError) {
        name = key
        noteOddities(of: key)
        var fields = Fields()
        switch try next() {
        case .beginObject:
            let start = tokens.tokenStart
            while case .key(let field) = try next() { try parseField(field, into: &fields) }
            guard fields.dtype != nil, fields.shape != nil, fields.offsets != nil else {
                let missing = fields.dtype == nil ? "dtype" : fields.shape == nil ? "shape" : "data_offsets"
                throw error(.badTensorEntry, at: start, "the entry has no \(missing)")
            }
        case .beginArray where mode == .reference: try parseSequence(into: &fields)
        case .beginArray: throw strictOnly(.badTensorEntry, Self.arrayEntry)
        default: throw error(.badTensorEntry, "the entry is not an object")
        }
        if let dtype = fields.dtype, let shape = fields.shape, let offsets = fields.offsets {
            append(
                name: key.start - 1, dtype: dtype, shape: shape.start, elementCount: shape.elementCount,
                begin: offsets.begin, end: offsets.end)
        }
    }

    private mutating func parseField(_ field: JSONText, into fields: inout Fields) throws(SafeTensorsError) {
        switch ShortText(field, in: bytes, &scratch) {
        case Self.dtypeField:
            guard fields.dtype == nil else { throw error(.duplicateKey, "the entry has dtype twice") }
            fields.dtype = try parseDType(try next())
        case Self.shapeField:
            guard fields.shape == nil else { throw error(.duplicateKey, "the entry has shape twice") }
            fields.shape = try parseShape(try next())
        case Self.offsetsField:
            guard fields.offsets == nil else {
                throw error(.duplicateKey, "the entry has data_offsets twice")
            }
            fields.offsets = try parseOffsets(try next())
        default: try skipField(field)
        }
    }

    /// An entry spelt `[dtype, shape, data_offsets]`, which the reference takes for an object.
    private mutating func parseSequence(into fields: inout Fields) throws(SafeTensorsError) {
        warnIrregular(Self.arrayEntry)
        fields.dtype = try parseDType(try next())
        fields.shape = try parseShape(try next())
        fields.offsets = try parseOffsets(try next())
        guard case .endArray = try next() else {
            throw error(.badTensorEntry, "the entry is an array of more than three elements")
        }
    }

    private mutating func parseDType(_ token: JSONToken) throws(SafeTensorsError) -> DType {
        switch token {
        case .string(let text): return try dtype(text)
        case .beginObject where mode == .reference: return try parseDTypeObject()
        case .beginObject: throw strictOnly(.badTensorEntry, "the dtype is an object, not a string")
        default: throw error(.badTensorEntry, "the dtype is not a string")
        }
    }

    /// A dtype spelt `{"F32": null}`, which the reference takes for a string.
    private mutating func parseDTypeObject() throws(SafeTensorsError) -> DType {
        warnIrregular("the dtype is an object, not a string")
        guard case .key(let text) = try next(), let dtype = DTypeSpelling.dtype(text, in: bytes),
            case .null = try next(), case .endObject = try next()
        else { throw error(.badTensorEntry, "the dtype is not a string") }
        return dtype
    }

    private func dtype(_ text: JSONText) throws(SafeTensorsError) -> DType {
        if let dtype = DTypeSpelling.dtype(text, in: bytes) { return dtype }
        let spelling =
            text.end - text.start > 64
            ? "the dtype" : "the dtype \"\(escapedForDisplay(text.string(in: bytes)))\""
        throw error(.unknownDType, "\(spelling) is not one of the format's")
    }

    private mutating func parseShape(_ token: JSONToken) throws(SafeTensorsError) -> Shape {
        guard case .beginArray = token else { throw error(.badShape, "the shape is not an array") }
        let start = tokens.tokenStart
        var elementCount: UInt64? = 1
        while true {
            let token = try next()
            if case .endArray = token { return Shape(start: start, elementCount: elementCount) }
            guard case .number(let number) = token, let dimension = number.unsigned else {
                throw error(.badShape, "a dimension is not an unsigned 64-bit integer")
            }
            if let count = elementCount {
                let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
                elementCount = overflow ? nil : product
            }
        }
    }

    private mutating func parseOffsets(_ token: JSONToken) throws(SafeTensorsError) -> (UInt64, UInt64) {
        if case .beginArray = token, case .number(let begin) = try next(), let begin = begin.unsigned,
            case .number(let end) = try next(), let end = end.unsigned, case .endArray = try next()
        {
            return (begin, end)
        }
        throw error(
            .badOffsets, "data_offsets is not an array of two unsigned 64-bit integers",
            referenceName: "InvalidHeaderDeserialization")
    }

    /// Passes over a field that the format does not define.
    private mutating func skipField(_ field: JSONText) throws(SafeTensorsError) {
        index.warnings.add(
            .unknownField, at: Self.fileOffset(field.start - 1), tensor: name, in: bytes,
            "the entry has a field that the format does not define")
        switch try next() {
        case .number(let number) where NumberRange.overflows(number, in: bytes):
            throw error(.headerNotJSON, Self.hugeNumber)
        case .beginArray, .beginObject: break
        default: return
        }
        let bytes = bytes
        do {
            try tokens.skipContainer { (number) throws(JSONError) in
                guard NumberRange.overflows(number, in: bytes) else { return }
                throw JSONError(.badNumber, at: number.start, Self.hugeNumber)
            }
        } catch {
            throw notJSON(error)
        }
    }

    private static func fault(
        _ dtype: DType, elementCount: UInt64?, _ begin: UInt64, _ end: UInt64
    ) -> HeaderIndex.Fault {
        guard begin <= end else { return .reversed }
        guard let elementCount else { return .overflow }
        let (bits, overflow) = elementCount.multipliedReportingOverflow(by: UInt64(dtype.bitWidth))
        if overflow { return .overflow }
        if bits % 8 != 0 { return .subByte }
        return bits / 8 == end - begin ? .none : .mismatch
    }
}

// MARK: - Tokens and errors

extension HeaderParser {
    private mutating func next() throws(SafeTensorsError) -> JSONToken {
        do {
            return try tokens.next()
        } catch {
            throw notJSON(error)
        }
    }

    private func notJSON(_ error: JSONError) -> SafeTensorsError {
        SafeTensorsError(
            error.code == .nestingTooDeep ? .nestingTooDeep : .headerNotJSON,
            at: Self.fileOffset(error.offset), tensor: tensorName,
            "the header is not valid JSON: \(error.message)")
    }

    private var tensorName: TensorName? { name.map { TensorName(shown: $0, in: bytes) } }

    private func error(
        _ code: SafeTensorsError.Code, at position: Int? = nil, _ message: String,
        referenceName: String?? = nil
    ) -> SafeTensorsError {
        SafeTensorsError(
            code, at: Self.fileOffset(position ?? tokens.tokenStart), tensor: tensorName, message,
            referenceName: referenceName)
    }

    /// An error for what the reference accepts.
    private func strictOnly(_ code: SafeTensorsError.Code, _ message: String) -> SafeTensorsError {
        error(code, message, referenceName: .some(nil))
    }

    private mutating func warnIrregular(_ message: String, at position: Int? = nil) {
        index.warnings.add(
            .irregularEntry, at: Self.fileOffset(position ?? tokens.tokenStart), tensor: name, in: bytes,
            message)
    }

    static func fileOffset(_ position: Int) -> UInt64 { UInt64(position) + 8 }
}
