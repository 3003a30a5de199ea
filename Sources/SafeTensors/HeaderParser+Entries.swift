internal import StrictJSON
internal import TensorCore

/// The entries of tensors.
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
    mutating func readPlainEntries(isFirst: Bool) {
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

    mutating func parseEntry(_ key: JSONText) throws(SafeTensorsError) {
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
