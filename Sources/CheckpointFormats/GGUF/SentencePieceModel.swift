/// A `tokenizer.model` of SentencePiece: tokens with scores and kinds, and how text is prepared.
///
/// Only what GGUF has of it too; the rest of the message is left at its defaults.
struct SentencePieceModel {
    var pieces: [Piece] = []
    /// Whether text begins with a space.
    var addsSpace = true
    /// Whether several spaces are taken for one.
    var removesSpaces = true
    /// Whether words are pieces of the best total score, and not merged by score.
    var isUnigram = true
    /// Whether text is normalised by a table of its own.
    var hasTable = false
    /// The numbers of special tokens, by the fields of the message.
    var special: [(field: Int, id: Int)] = []

    struct Piece {
        var text: [UInt8]
        var score: Float
        var kind: UInt8
    }

    /// Fields of the messages, by number.
    enum Field {
        static let pieces = 1, trainer = 2, normaliser = 3
        static let text = 1, score = 2, kind = 3
        static let modelType = 3, vocabularySize = 4, byteFallback = 35
        static let unknownID = 40, firstID = 41, lastID = 42, paddingID = 43
        static let name = 1, table = 2, addsSpace = 3, removesSpaces = 4, escapesSpaces = 5
    }
}

// MARK: - Writing

extension SentencePieceModel {
    /// The message; of words that are merged by score.
    func encoded() -> [UInt8] {
        var message = ProtobufText()
        for piece in pieces {
            var part = ProtobufText()
            part.bytes(Field.text, piece.text)
            part.fixed(Field.score, piece.score.bitPattern)
            if piece.kind != 1 { part.integer(Field.kind, Int(piece.kind)) }
            message.bytes(Field.pieces, part.contents)
        }
        var trainer = ProtobufText()
        trainer.integer(Field.modelType, isUnigram ? 1 : 2)
        trainer.integer(Field.vocabularySize, pieces.count)
        trainer.integer(Field.byteFallback, pieces.contains { $0.kind == 6 } ? 1 : 0)
        // Those that are not named have numbers of their own by default.
        for field in [Field.unknownID, Field.firstID, Field.lastID, Field.paddingID] {
            trainer.integer(field, special.first { $0.field == field }?.id ?? -1)
        }
        message.bytes(Field.trainer, trainer.contents)
        var normaliser = ProtobufText()
        normaliser.bytes(Field.name, Array("identity".utf8))
        normaliser.bytes(Field.table, [])
        normaliser.integer(Field.addsSpace, addsSpace ? 1 : 0)
        normaliser.integer(Field.removesSpaces, removesSpaces ? 1 : 0)
        normaliser.integer(Field.escapesSpaces, 1)
        message.bytes(Field.normaliser, normaliser.contents)
        return message.contents
    }
}

/// A message of Protocol Buffers that is put together field by field.
private struct ProtobufText {
    private(set) var contents: [UInt8] = []

    private mutating func variable(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            contents.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        contents.append(UInt8(rest))
    }

    mutating func integer(_ field: Int, _ value: Int) {
        variable(UInt64(field << 3))
        variable(UInt64(bitPattern: Int64(value)))
    }

    mutating func fixed(_ field: Int, _ value: UInt32) {
        variable(UInt64(field << 3 | 5))
        contents.append(littleEndian: value)
    }

    mutating func bytes(_ field: Int, _ value: [UInt8]) {
        variable(UInt64(field << 3 | 2))
        variable(UInt64(value.count))
        contents += value
    }
}

// MARK: - Reading

extension SentencePieceModel {
    /// Reads a message; nil where it is damaged or has more pieces than make sense.
    init?(_ message: [UInt8]) {
        var fields = ProtobufFields(message[...])
        while let (field, value) = fields.next() {
            switch (field, value) {
            case (Field.pieces, .bytes(let part)):
                guard pieces.count < 1 << 20, let piece = Piece(part) else { return nil }
                pieces.append(piece)
            case (Field.trainer, .bytes(let part)): guard readTrainer(part) else { return nil }
            case (Field.normaliser, .bytes(let part)): guard readNormaliser(part) else { return nil }
            default: break
            }
        }
        guard fields.isWhole else { return nil }
    }

    private mutating func readTrainer(_ message: ArraySlice<UInt8>) -> Bool {
        var fields = ProtobufFields(message)
        special = [(Field.unknownID, 0), (Field.firstID, 1), (Field.lastID, 2), (Field.paddingID, -1)]
        while let (field, value) = fields.next() {
            guard case .integer(let number) = value else { continue }
            if field == Field.modelType { isUnigram = number == 1 }
            if let index = special.firstIndex(where: { $0.field == field }) {
                special[index].id = Int(Int32(truncatingIfNeeded: number))
            }
        }
        special.removeAll { $0.id < 0 || $0.id >= 1 << 20 }
        return fields.isWhole
    }

    private mutating func readNormaliser(_ message: ArraySlice<UInt8>) -> Bool {
        var fields = ProtobufFields(message)
        while let (field, value) = fields.next() {
            switch (field, value) {
            case (Field.addsSpace, .integer(let number)): addsSpace = number != 0
            case (Field.removesSpaces, .integer(let number)): removesSpaces = number != 0
            case (Field.table, .bytes(let bytes)): hasTable = !bytes.isEmpty
            default: break
            }
        }
        return fields.isWhole
    }
}

extension SentencePieceModel.Piece {
    fileprivate init?(_ message: ArraySlice<UInt8>) {
        (text, score, kind) = ([], 0, 1)
        var fields = ProtobufFields(message)
        while let (field, value) = fields.next() {
            switch (field, value) {
            case (SentencePieceModel.Field.text, .bytes(let bytes)): text = Array(bytes)
            case (SentencePieceModel.Field.score, .fixed(let bits)): score = Float(bitPattern: bits)
            case (SentencePieceModel.Field.kind, .integer(let number)):
                guard 1...6 ~= number else { return nil }
                kind = UInt8(number)
            default: break
            }
        }
        guard fields.isWhole, score.isFinite else { return nil }
    }
}

/// The fields of a message of Protocol Buffers, one after another; it ends where the message is damaged.
private struct ProtobufFields {
    enum Value {
        case integer(UInt64)
        case fixed(UInt32)
        case bytes(ArraySlice<UInt8>)
        case other
    }

    private var rest: ArraySlice<UInt8>
    private var isDamaged = false

    init(_ message: ArraySlice<UInt8>) { rest = message }

    /// Whether all of the message was read.
    var isWhole: Bool { rest.isEmpty && !isDamaged }

    mutating func next() -> (field: Int, value: Value)? {
        guard !rest.isEmpty else { return nil }
        guard let tag = variable(), let value = value(kind: tag & 7) else {
            isDamaged = true
            return nil
        }
        return (Int(truncatingIfNeeded: tag >> 3), value)
    }

    private mutating func value(kind: UInt64) -> Value? {
        switch kind {
        case 0: return variable().map { .integer($0) }
        case 1: return take(8).map { _ in .other }
        case 2: return variable().flatMap { take($0) }.map { .bytes($0) }
        case 5:
            return take(4).map { bytes in
                .fixed(bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) })
            }
        default: return nil
        }
    }

    private mutating func take(_ count: UInt64) -> ArraySlice<UInt8>? {
        guard count <= UInt64(rest.count) else { return nil }
        defer { rest = rest.dropFirst(Int(count)) }
        return rest.prefix(Int(count))
    }

    private mutating func variable() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        return nil
    }
}
