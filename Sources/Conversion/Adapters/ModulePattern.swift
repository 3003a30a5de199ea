/// A regular expression for the end of a module's path, as PEFT takes it: all of the path, or what follows a dot.
struct ModulePattern: Sendable {
    private enum Rule: Sendable {
        /// Letters, digits and dots, of which a dot is any character.
        case plain([UInt8])
        case program(PatternProgram)
    }

    private let rule: Rule

    init(parsing text: String) throws(PatternError) {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
                default: false
                }
            }
        if isPlain {
            rule = .plain(Array(text.utf8))
            return
        }
        var parser = RegexParser(PatternText("(?:.*\\.)?(?:\(text))"), ignoresCase: false)
        let node = try parser.parse()
        guard let program = PatternProgram(node, groupCount: nil) else {
            throw PatternError(pattern: text, position: 1, message: "the pattern is too large")
        }
        rule = .program(program)
    }

    /// The size of the program that it takes, if any.
    var instructionCount: Int {
        if case .program(let program) = rule { program.instructions.count } else { 0 }
    }

    func matches(_ module: String) -> Bool {
        let bytes = Array(module.utf8)
        switch rule {
        case .plain(let key) where bytes.allSatisfy({ $0 < 0x80 }):
            let start = bytes.count - key.count
            guard start == 0 || start > 0 && bytes[start - 1] == 0x2E else { return false }
            for index in key.indices where key[index] != 0x2E && key[index] != bytes[start + index] {
                return false
            }
            return true
        case .plain(let key):
            // A dot may be a character of several bytes.
            let whole = Self.slow(String(decoding: key, as: UTF8.self))
            return whole.map { Self.run($0, bytes) } ?? false
        case .program(let program): return Self.run(program, bytes)
        }
    }

    private static func slow(_ key: String) -> PatternProgram? {
        var parser = RegexParser(PatternText("(?:.*\\.)?(?:\(key))"), ignoresCase: false)
        return (try? parser.parse()).flatMap { PatternProgram($0, groupCount: nil) }
    }

    private static func run(_ program: PatternProgram, _ bytes: [UInt8]) -> Bool {
        var machine = PatternMachine(program)
        return machine.matchesAll(NameUnits.units(of: bytes))
    }
}
