internal import StrictJSON

/// How tensors of a scheme (theirs) and canonical ones (ours) belong together.
///
/// Where one side has several names, or placeholders that the other lacks, it is the parts of the other: several
/// names one after another along `axis`, placeholders stacked along a new first axis.
struct MapRule: Sendable {
    let theirs: [NamePattern]
    let ours: [NamePattern]
    /// What else the rule says.
    var settings = Settings()

    /// What a rule says beside its names.
    struct Settings: Sendable {
        /// What is done to each part on its way to ours.
        var operations: [TensorOperation] = []
        /// The axis along which several names are joined.
        var axis = 0
        /// In how many groups, each with its share of every part, they are joined.
        var groups: SizeExpression?
        /// The length of each part along the axis, where its canonical shape does not say.
        var sizes: [SizeExpression] = []
        /// The axes, one of which a scheme that is split over several files splits theirs along; none where each
        /// file has the whole.
        var partAxes: [Int] = []
        /// Whether theirs may have more rows than ours, which are dropped.
        var isPadded = false
        /// Whether it is another spelling that is read but not written.
        var isForReading = false
        /// A dimension that must be zero, or must not, for the rule to hold.
        var condition: (dimension: String, isZero: Bool)?
    }

    /// The side of the whole or the parts.
    enum Side: Sendable { case theirs, ours }

    /// The names of a side.
    func names(_ side: Side) -> [NamePattern] { side == .ours ? ours : theirs }

    /// Which side is parts of the other; nil where they are one to one.
    let parts: Side?
    /// The placeholders that only the parts have, outermost first.
    let stacked: [Placeholder]

    /// Makes a rule; nil where neither side is one tensor made of the other.
    init?(theirs: [NamePattern], ours: [NamePattern], settings: Settings = Settings()) {
        guard let their = theirs.first, let our = ours.first,
            theirs.allSatisfy({ Set($0.placeholders) == Set(their.placeholders) }),
            ours.allSatisfy({ Set($0.placeholders) == Set(our.placeholders) })
        else { return nil }
        let extraTheirs = their.placeholders.filter { !our.placeholders.contains($0) }
        let extraOurs = our.placeholders.filter { !their.placeholders.contains($0) }
        let (manyTheirs, manyOurs) = (
            theirs.count > 1 || !extraTheirs.isEmpty, ours.count > 1 || !extraOurs.isEmpty
        )
        guard !(manyTheirs && manyOurs) else { return nil }
        self.theirs = theirs
        self.ours = ours
        self.settings = settings
        parts = manyTheirs ? .theirs : manyOurs ? .ours : nil
        stacked = manyTheirs ? extraTheirs : extraOurs
    }
}

// MARK: - Reading

extension MapRule {
    /// The rules that a line stands for: one for each choice of its `(a|b)`.
    ///
    /// Returns nil where it is none.
    static func parse(_ json: JSONValue) -> [MapRule]? {
        guard let members = json.members, let theirs = texts(json["theirs"]), let ours = texts(json["ours"])
        else { return nil }
        let choices = (theirs + ours).map { expand($0).count }.max() ?? 1
        var rules: [MapRule] = []
        for choice in 0..<choices {
            func pick(_ names: [String]) -> [NamePattern]? {
                let patterns = names.compactMap { name -> NamePattern? in
                    let all = expand(name)
                    guard all.count == choices || all.count == 1 else { return nil }
                    return NamePattern(all.count == 1 ? all[0] : all[choice])
                }
                return patterns.count == names.count ? patterns : nil
            }
            guard let their = pick(theirs), let our = pick(ours), var rule = MapRule(theirs: their, ours: our)
            else { return nil }
            for member in members where member.key != "theirs" && member.key != "ours" {
                guard rule.settings.read(member) else { return nil }
            }
            let sizes = rule.settings.sizes.count
            guard sizes == 0 || sizes == rule.names(rule.parts ?? .ours).count else { return nil }
            rules.append(rule)
        }
        return rules
    }

    private static func texts(_ json: JSONValue?) -> [String]? {
        if let text = json?.string { return [text] }
        let names = json?.elements?.compactMap(\.string)
        return names?.isEmpty == false && names?.count == json?.elements?.count ? names : nil
    }

    /// The names that `(a|b)` in a text stands for.
    static func expand(_ text: String) -> [String] {
        guard let open = text.firstIndex(of: "("),
            let close = text[open...].firstIndex(of: ")")
        else { return [text] }
        let choices = text[text.index(after: open)..<close].split(
            separator: "|", omittingEmptySubsequences: false)
        let tails = expand(String(text[text.index(after: close)...]))
        return choices.flatMap { choice in tails.map { text[..<open] + choice + $0 } }
    }
}

extension MapRule.Settings {
    /// Takes a member of a rule; false where it is none.
    fileprivate mutating func read(_ member: JSONMember) -> Bool {
        let value = member.value
        switch member.key {
        case "do":
            let read = (value.elements ?? []).map(TensorOperation.parse)
            operations = read.compactMap { $0 }
            return !read.isEmpty && operations.count == read.count
        case "axis":
            guard let number = value.uint64, number < 8 else { return false }
            axis = Int(number)
        case "groups":
            groups = value.string.flatMap { SizeExpression($0) }
            return groups != nil
        case "sizes":
            let read = (value.elements ?? []).map { $0.string.flatMap { SizeExpression($0) } }
            sizes = read.compactMap { $0 }
            return sizes.count == read.count
        case "parts":
            let axes = (value.elements ?? [value]).map(\.uint64)
            partAxes = axes.compactMap { $0.flatMap { $0 < 8 ? Int($0) : nil } }
            return partAxes.count == axes.count
        case "padded": isPadded = value.bool ?? false
        case "reading": isForReading = value.bool ?? false
        case "when", "unless":
            guard let name = value.string else { return false }
            condition = (name, member.key == "unless")
        default: return false
        }
        return true
    }
}

extension TensorOperation {
    /// Reads an operation; nil where it is none.
    static func parse(_ json: JSONValue) -> TensorOperation? {
        guard let member = json.members?.first else {
            return json.string == "transpose" ? .axes([1, 0]) : nil
        }
        switch member.key {
        case "axes":
            return order(member.value).map { .axes($0) }
        case "rope":
            // Pairs next to each other there, a half apart here.
            guard let heads = member.value.string.flatMap({ SizeExpression($0) }),
                let half = SizeExpression("head_dim/2"), let two = SizeExpression("2")
            else { return nil }
            return .rows(view: [heads, half, two], order: [0, 2, 1])
        case "rows":
            let texts = (member.value.elements ?? []).map { $0.string.flatMap { SizeExpression($0) } }
            let view = texts.compactMap { $0 }
            guard view.count == texts.count, let order = json["order"].flatMap(order),
                order.count == view.count
            else { return nil }
            return .rows(view: view, order: order)
        case "shape":
            let texts = (member.value.elements ?? []).map { $0.string.flatMap { SizeExpression($0) } }
            let shape = texts.compactMap { $0 }
            return shape.count == texts.count ? .shape(shape) : nil
        case "offset":
            return member.value.double.map { .offset(Float($0)) }
        default: return nil
        }
    }

    private static func order(_ json: JSONValue) -> [Int]? {
        let order = json.elements?.compactMap { $0.uint64.flatMap { Int(exactly: $0) } }
        guard let order, order.sorted() == Array(order.indices) else { return nil }
        return order
    }
}
