internal import Glibc
internal import StrictJSON
internal import Synchronization

/// Output: data on standard output, the rest on standard error, colours where they can be seen.
enum Terminal {
    /// Whether standard output takes colours.
    static let outputStyle = Style(descriptor: STDOUT_FILENO)
    /// Whether standard error takes colours.
    static let errorStyle = Style(descriptor: STDERR_FILENO)

    static func print(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }

    /// Prints a report for programs.
    static func print(json: JSONValue) {
        write(json.serialized(indent: 2) + [0x0A], to: STDOUT_FILENO)
    }

    static func printError(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    static func write(_ text: String, to descriptor: Int32) { write(Array(text.utf8), to: descriptor) }

    /// Output that is kept rather than written.
    private static let captured = Mutex<[UInt8]?>(nil)

    /// Runs `body` and returns what it would have written to standard output.
    static func capturingOutput(_ body: () -> Void) -> [UInt8] {
        captured.withLock { $0 = [] }
        body()
        return captured.withLock { bytes in
            defer { bytes = nil }
            return bytes ?? []
        }
    }

    static func write(_ bytes: [UInt8], to descriptor: Int32) {
        let isKept =
            descriptor == STDOUT_FILENO
            && captured.withLock { kept in
                kept?.append(contentsOf: bytes)
                return kept != nil
            }
        if isKept { return }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes { buffer in
                unsafe Glibc.write(descriptor, buffer.baseAddress, buffer.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                // Data that does not arrive must not look like success.
                if descriptor == STDOUT_FILENO {
                    let reason = unsafe String(cString: strerror(errno))
                    write("artifact: cannot write to standard output: \(reason)\n", to: STDERR_FILENO)
                    exit(3)
                }
                return
            }
            rest = rest.dropFirst(count)
        }
    }

    /// The columns of the terminal at a descriptor, 80 where unknown.
    static func width(of descriptor: Int32) -> Int {
        var size = winsize()
        guard unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    static func environment(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }
}

/// Colours for one stream: none where it is not a terminal, `NO_COLOR` is set, or the terminal is dumb.
struct Style: Sendable {
    let isColoured: Bool
    let isTerminal: Bool

    init(descriptor: Int32) {
        isTerminal = isatty(descriptor) == 1
        let refused = !(Terminal.environment("NO_COLOR") ?? "").isEmpty
        isColoured = isTerminal && !refused && Terminal.environment("TERM") != "dumb"
    }

    func bold(_ text: String) -> String { paint(text, "1") }
    func dim(_ text: String) -> String { paint(text, "2") }
    func red(_ text: String) -> String { paint(text, "31") }
    func green(_ text: String) -> String { paint(text, "32") }
    func yellow(_ text: String) -> String { paint(text, "33") }

    private func paint(_ text: String, _ code: String) -> String {
        isColoured ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}

extension JSONValue {
    /// The beginning of the value's JSON, for people.
    var displayText: String {
        let text = String(decoding: serialized(asciiOnly: true), as: UTF8.self)
        let shown = text.utf8.count > 60 ? text.prefix(60) + "…" : text[...]
        // JSON has escaped whatever a terminal would take for more than text.
        return String(shown)
    }
}
