public import TensorCore

/// One change to the table of a checkpoint: to names, to dtypes, or to which tensors are in it.
///
/// Transforms apply in the order in which they are given, each to the names that the ones before it left. They
/// touch the table only; bytes are converted where they are written.
public enum Transform: Sendable {
    /// Converts tensors to a dtype: those whose names match, whatever they are, or without a pattern the floating
    /// ones (F64, F32, F16, BF16).
    ///
    /// A tensor is converted once, from its dtype in the source to what the last of these says.
    case cast(Glob?, to: DType, overflow: Overflow)
    /// Changes names.
    case rename(Substitution)
    /// Keeps the tensors whose names match one of the patterns.
    case select([Glob])
    /// Leaves out the tensors whose names match one of the patterns.
    case drop([Glob])
    /// Leaves out matching names whose storage has another name that stays, whatever the config says.
    case tie([Glob])
    /// Gives matching names bytes of their own, whatever the config says.
    case untie([Glob])
}

extension Transform {
    /// Reads `DTYPE` or `GLOB=DTYPE`.
    public static func cast(
        parsing text: String, overflow: Overflow = .special
    ) throws(PatternError) -> Transform {
        let name = text.utf8.lastIndex(of: 0x3D).map { String(text[text.utf8.index(after: $0)...]) } ?? text
        let start = text.unicodeScalars.count - name.unicodeScalars.count
        guard let dtype = DType(spelling: name) else {
            let known = DType.allCases.map { $0.name.lowercased() }.joined(separator: ", ")
            throw PatternError(
                pattern: text, position: start + 1,
                message: "there is no dtype \(name); there are \(known)")
        }
        if start > 0 {
            let pattern = text.unicodeScalars.prefix(start - 1)
            return .cast(try Glob(parsing: String(pattern)), to: dtype, overflow: overflow)
        }
        guard dtype.isCastableFloat else {
            throw PatternError(
                pattern: text, position: 1,
                message:
                    "a cast of all floating tensors takes f64, f32, f16 or bf16; others need the names of "
                    + "the tensors, as in '*.weight=\(text)'")
        }
        return .cast(nil, to: dtype, overflow: overflow)
    }

    /// Reads `s/PATTERN/REPLACEMENT/FLAGS`.
    public static func rename(parsing text: String) throws(PatternError) -> Transform {
        .rename(try Substitution(parsing: text))
    }

    /// Reads patterns of which one must match.
    public static func select(parsing texts: String...) throws(PatternError) -> Transform {
        .select(try Glob.list(texts))
    }

    /// Reads patterns of which one must match.
    public static func drop(parsing texts: String...) throws(PatternError) -> Transform {
        .drop(try Glob.list(texts))
    }

    /// Reads patterns of which one must match; `*` for all names.
    public static func tie(parsing texts: String...) throws(PatternError) -> Transform {
        .tie(try Glob.list(texts))
    }

    /// Reads patterns of which one must match; `*` for all names.
    public static func untie(parsing texts: String...) throws(PatternError) -> Transform {
        .untie(try Glob.list(texts))
    }

    /// What it is called, in reports and in the manifest.
    public var kind: String {
        switch self {
        case .cast: "cast"
        case .rename: "rename"
        case .select: "select"
        case .drop: "drop"
        case .tie: "tie"
        case .untie: "untie"
        }
    }

    /// Its patterns as they were written, but for a cast's dtype.
    public var patterns: [String] {
        switch self {
        case .cast(let pattern, _, _): pattern.map { [$0.description] } ?? []
        case .rename(let substitution): [substitution.description]
        case .select(let globs), .drop(let globs), .tie(let globs), .untie(let globs):
            globs.map(\.description)
        }
    }

    /// This and another as one, where both select: a tensor stays that either keeps.
    public func joined(with other: Transform) -> Transform? {
        guard case .select(let first) = self, case .select(let second) = other else { return nil }
        return .select(first + second)
    }

    /// The dtype that a model as a whole is converted to by this, for its config.
    var modelDType: DType? {
        guard case .cast(let pattern, let dtype, _) = self, pattern?.matchesEverything ?? true else {
            return nil
        }
        return dtype
    }
}

extension Glob {
    static func list(_ texts: [String]) throws(PatternError) -> [Glob] {
        var globs: [Glob] = []
        for text in texts { globs.append(try Glob(parsing: text)) }
        return globs
    }

    /// A pattern for every name.
    public static let everything = Glob()
}
