/// Reads the part of YAML that configuration is written in, strictly.
///
/// Known are mappings and sequences, by indentation or in brackets, text plain or in quotes on one line, and
/// comments. All text stays text: `no`, `1.10` and `null` are what they look like. What else YAML has (anchors,
/// aliases, tags, text over several lines, several documents) is refused by name, and so are keys that stand twice.
struct YAMLReader {
    let bytes: [UInt8]
    var position = 0
    private var line = 1
    private var lineStart = 0

    static let byteCountLimit = 1 << 20
    private static let depthLimit = 32

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Reads a whole document.
    static func read(_ bytes: [UInt8]) throws(PipelineError) -> YAMLNode {
        var reader = YAMLReader(bytes)
        guard bytes.count <= byteCountLimit else { throw reader.error("it is larger than 1 MiB") }
        guard String(validating: bytes, as: UTF8.self) != nil else { throw reader.error("it is not UTF-8") }
        try reader.checkControlCharacters()
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { reader.position = 3 }
        reader.lineStart = reader.position
        try reader.skipBlankLines()
        if bytes[reader.position...].starts(with: Array("---".utf8)) {
            reader.position += 3
            try reader.finishLine()
        }
        try reader.skipBlankLines()
        guard !reader.isAtEnd else { return YAMLNode(value: .empty, place: reader.place) }
        let node = try reader.block(depth: 0)
        try reader.skipBlankLines()
        guard reader.isAtEnd else {
            throw reader.error("this line belongs to nothing above it: its indentation fits none")
        }
        return node
    }

    /// Lines end with LF or CR LF, and no other control character but the tab may stand in the text.
    private func checkControlCharacters() throws(PipelineError) {
        var line = 1
        var lineStart = 0
        for (index, byte) in bytes.enumerated() where byte < 0x20 || byte == 0x7F {
            let isLineEnd = byte == 0x0D && index + 1 < bytes.count && bytes[index + 1] == 0x0A
            guard byte == 0x0A || byte == 0x09 || isLineEnd else {
                let column = bytes[lineStart..<index].count { $0 & 0xC0 != 0x80 } + 1
                throw error("a control character", at: TextPlace(line: line, column: column))
            }
            if byte == 0x0A {
                line += 1
                lineStart = index + 1
            }
        }
    }

    // MARK: - Places

    var isAtEnd: Bool { position >= bytes.count }
    var next: UInt8? { position < bytes.count ? bytes[position] : nil }
    var indentation: Int { position - lineStart }

    var place: TextPlace {
        let before = bytes[lineStart..<position]
        return TextPlace(line: line, column: before.count { $0 & 0xC0 != 0x80 } + 1)
    }

    func error(_ message: String, at other: TextPlace? = nil) -> PipelineError {
        PipelineError(message, at: other ?? place)
    }

    /// Whether the byte at an offset from here ends a word: a blank, the end of the line or of the text.
    func isBreak(_ offset: Int) -> Bool {
        let index = position + offset
        return index >= bytes.count || [0x20, 0x09, 0x0A, 0x0D].contains(bytes[index])
    }

    mutating func skipSpaces() { while next == 0x20 || next == 0x09 { position += 1 } }

    /// Whether nothing but a comment is left on the line; skips the blanks before it.
    private mutating func isLineDone() -> Bool {
        skipSpaces()
        return next == nil || next == 0x0A || next == 0x0D || next == UInt8(ascii: "#")
    }

    private mutating func passLine() {
        while next != nil && next != 0x0A { position += 1 }
        if next == 0x0A {
            position += 1
            line += 1
            lineStart = position
        }
    }

    /// Goes to the first character of the next line that has any.
    mutating func skipBlankLines() throws(PipelineError) {
        while !isAtEnd {
            while next == 0x20 { position += 1 }
            if next == 0x09 {
                let tab = place
                guard isLineDone() else { throw error("a tab cannot indent: use spaces", at: tab) }
            }
            guard isLineDone() else { return }
            passLine()
        }
    }

    /// Passes the end of the line, before which only a comment may stand.
    mutating func finishLine() throws(PipelineError) {
        guard isLineDone() else {
            throw error("this does not belong here: text with such characters takes quotes")
        }
        if next == UInt8(ascii: "#"), position > lineStart, ![0x20, 0x09].contains(bytes[position - 1]) {
            throw error("a comment begins after a blank")
        }
        passLine()
    }

    // MARK: - Blocks

    private var isItem: Bool { next == UInt8(ascii: "-") && isBreak(1) }

    /// Reads the value that begins here, at the indentation that it has.
    private mutating func block(depth: Int) throws(PipelineError) -> YAMLNode {
        guard depth < Self.depthLimit else { throw error("too many levels") }
        if isItem { return try sequence(depth: depth) }
        if try isKey() { return try mapping(depth: depth) }
        let node = try value(inFlow: false, depth: depth)
        try finishLine()
        return node
    }

    /// Goes on to the next line of a block.
    ///
    /// - Returns: false where the block ends.
    private mutating func goesOn(_ indentation: Int) throws(PipelineError) -> Bool {
        try skipBlankLines()
        guard !isAtEnd, self.indentation >= indentation else { return false }
        guard self.indentation == indentation else {
            throw error("this line is indented further than the one that it would follow")
        }
        return true
    }

    private mutating func sequence(depth: Int) throws(PipelineError) -> YAMLNode {
        let start = place
        let own = indentation
        var items: [YAMLNode] = []
        repeat {
            guard isItem else { break }
            position += 1
            items.append(try nested(in: own, depth: depth, takesSequence: false))
        } while try goesOn(own)
        return YAMLNode(value: .sequence(items), place: start)
    }

    private mutating func mapping(depth: Int) throws(PipelineError) -> YAMLNode {
        let start = place
        let own = indentation
        var entries: [YAMLNode.Entry] = []
        repeat {
            // A sequence may stand under a key without indentation; its end is the mapping's too.
            guard !isItem else { throw error("a list item cannot follow a key at its own level") }
            guard try isKey() else { throw error("a key is missing: the line has no `: `") }
            let place = place
            let key = try keyText()
            guard !entries.contains(where: { $0.key.utf8.elementsEqual(key.utf8) }) else {
                throw error("the key \(key) stands twice", at: place)
            }
            let value = try nested(in: own, depth: depth, takesSequence: true)
            entries.append(.init(key: key, place: place, value: value))
        } while try goesOn(own)
        return YAMLNode(value: .mapping(entries), place: start)
    }

    /// Reads what belongs to a `-` or a `key:` at the indentation `own`: on the line or below it.
    private mutating func nested(in own: Int, depth: Int, takesSequence: Bool) throws(PipelineError)
        -> YAMLNode
    {
        let start = place
        if !isLineDone() {
            // Items may begin a block on their own line, keys may not.
            if !takesSequence { return try block(depth: depth + 1) }
            let node = try value(inFlow: false, depth: depth)
            try finishLine()
            return node
        }
        try skipBlankLines()
        if !isAtEnd, indentation > own || (takesSequence && indentation == own && isItem) {
            return try block(depth: depth + 1)
        }
        return YAMLNode(value: .empty, place: start)
    }
}
